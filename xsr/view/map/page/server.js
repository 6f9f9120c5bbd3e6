// Requests to the server of this page, in the session of this tab.

let base = "";

async function reply(response) {
  const body = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new Error(body.error || response.statusText);
  return body;
}

export async function begin() {
  const known = sessionStorage.getItem(location.pathname);
  if (known && (await fetch(`s/${known}/`)).ok) {
    base = `s/${known}/`;
    return;
  }
  const { session } = await reply(await fetch("sessions", { method: "POST" }));
  sessionStorage.setItem(location.pathname, session);
  base = `s/${session}/`;
}

export const address = (path, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given).toString();
  return base + path + (text ? `?${text}` : "");
};

export const get = async (path, query) => reply(await fetch(address(path, query)));

export const post = async (path, content) =>
  reply(
    await fetch(address(path), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(content),
    }),
  );

export const cancel = async () => reply(await fetch(address("job"), { method: "DELETE" }));
