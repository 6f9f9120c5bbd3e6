"""Texts without secrets."""

import pickle
import traceback
import warnings

import pytest

from xsr.core.errors import ProductError, RedactedError, XsrError, XsrWarning, cause, discreet
from xsr.core.redact import HIDDEN, public, scrub, secrets

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"https://me:{SECRET}@host:8080/a/b.tif?sig={SECRET}#token={SECRET}", "https://host:8080/a/b.tif"),
        (f"https://me:p/{SECRET}@host/b.tif", "https://host/b.tif"),
        (f"https://{SECRET}@host", "https://host"),
        ("https://host:8080/mail/me@example.com", "https://host:8080/mail/me@example.com"),
        (f"/vsicurl/https://host/b.tif?sig={SECRET}", "/vsicurl/https://host/b.tif"),
        (f"/vsicurl?header.Authorization=Bearer%20{SECRET}&url=https%3A%2F%2Fhost", "/vsicurl"),
        (f"simplecache::https://me:{SECRET}@host/x.zarr", "simplecache::https://host/x.zarr"),
        ("s3://bucket/cube.zarr", "s3://bucket/cube.zarr"),
        ("data/me@lab/B0?.tif", "data/me@lab/B0?.tif"),
        (r"C:\data\cube.zarr", r"C:\data\cube.zarr"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address, shown):
    assert public(address) == shown


@pytest.mark.parametrize(
    "text",
    [
        f"'/vsicurl/http://127.0.0.1:1/x.tif?sig={SECRET}' not recognized as being in a supported file format.",
        f"Max retries exceeded with url: /x?sig={SECRET} (Caused by NewConnectionError)",
        f"403, message='Forbidden', url='https://me:{SECRET}@host/x?a=b'",
        f"headers: {{'Authorization': 'Bearer {SECRET}'}}",
        f"Authorization: Basic {SECRET}",
        f"S3FileSystem(secret='{SECRET}')",
        f"{{'aws_secret_access_key': '{SECRET}'}}",
        f"&X-Amz-Signature={SECRET}&X-Amz-Date=1",
    ],
)
def test_texts_of_libraries_lose_the_secrets_in_them(text):
    assert SECRET not in scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "unclosed token: line 1, column 0",
        "pass offset=0 if it has been applied already; see https://example.com/page. Check the address.",
        "2 blocks, authorization of nobody needed",
        "/data/me@lab/B0?_10m.tif not found",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert scrub(text) == text


@pytest.mark.parametrize(
    "known",
    [
        f"https://me:{SECRET}@host/x",
        f"https://host/x?sig={SECRET}&a=b",
        {"key": "k", "secret": SECRET},
        {"client_kwargs": {"headers": {"Authorization": f"Bearer {SECRET}"}}},
        {"token": SECRET.encode()},
    ],
)
def test_a_known_secret_is_found_in_any_form(known):
    assert scrub(f"nonnumeric port: {SECRET}@host", known) == f"nonnumeric port: {HIDDEN}@host"


def test_options_that_are_no_secrets_are_shown():
    assert not list(secrets({"endpoint_url": "http://127.0.0.1:1", "anon": True, "client_kwargs": {"region": "eu"}}))


def test_secrets_of_the_environment_are_hidden_and_paths_to_them_shown(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/users/me/key.json")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:proxy-password@proxy:3128")
    text = scrub(f"{SECRET} /users/me/key.json proxy-password")
    assert text == f"{HIDDEN} /users/me/key.json {HIDDEN}"


def test_errors_and_warnings_carry_no_secret_however_they_travel():
    error = ProductError(f"https://me:{SECRET}@host/x cannot be read. Check it.")
    assert str(error) == "https://host/x cannot be read. Check it."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert isinstance(error, OSError)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn(f"https://host/x?sig={SECRET} is odd", XsrWarning, stacklevel=1)
    assert str(caught[0].message) == "https://host/x is odd"


def printed(function):
    """Traceback of the error of a function."""
    try:
        function()
    except Exception:
        return traceback.format_exc()
    return ""


def fail(error):
    raise error


def fail_from(error):
    try:
        fail(error)
    except OSError as first:
        raise ValueError("a harmless text") from first


@pytest.mark.parametrize("function", [fail, fail_from])
def test_a_printed_traceback_holds_no_secret_of_a_cause(function):
    error = OSError(f"https://host/x?sig={SECRET}")

    def wrapped():
        try:
            function(error)
        except Exception as first:
            raise XsrError("cannot be read") from cause(first)

    def passed():
        with discreet():
            function(error)

    assert SECRET in printed(lambda: function(error))
    for call in (wrapped, passed):
        text = printed(call)
        assert SECRET not in text
        assert "RedactedError" in text


def test_an_error_without_secrets_is_raised_as_it_is():
    error = OSError("no space left")
    assert cause(error) is error
    with pytest.raises(OSError, match="no space left") as caught, discreet():
        raise error
    assert caught.value is error
    with pytest.raises(XsrError, match="mine") as own, discreet():
        raise XsrError("mine")
    assert not isinstance(own.value, RedactedError)
