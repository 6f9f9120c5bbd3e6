from intervals import MARKERS, PAGE, parts, renewed

TEXT = """
`one`:

| pixels | 50% |
| --- | --- |
| all | 48 |

`two`:

| pixels | 50% |
| --- | --- |
| all | 51 |

`one`, ×2, unlike the calibration:

| image | 90% |
| --- | --- |
| ice | 60 |

Cost, median processor time of 5 alternating runs, x86_64:

- `one`: 1 s alone.
"""


def test_a_model_made_again_replaces_its_own_tables_alone():
    made = "`one`:\n\n| all | 49 |\n\n`one`, ×2, unlike the calibration:\n\n| ice | 62 |\n"
    expected = TEXT.strip().replace("| pixels | 50% |\n| --- | --- |\n| all | 48 |", "| all | 49 |")
    expected = expected.replace("| image | 90% |\n| --- | --- |\n| ice | 60 |", "| ice | 62 |")
    assert renewed(TEXT, made) == expected


def test_cost_on_another_machine_replaces_the_cost():
    made = "Cost, median processor time of 3 alternating runs, aarch64:\n\n- `one`: 2 s alone."
    assert renewed(TEXT, made) == TEXT.strip().split("Cost")[0] + made


def test_the_page_has_each_part_once():
    text = PAGE.read_text(encoding="utf-8").split(MARKERS[0])[1].split(MARKERS[1])[0].strip()
    assert renewed(text, text) == text
    assert {"`liif_s2`:", "`liif_s2`, ×2", "Cost"} <= set(parts(text))
