// The tokens live in these two variables and nowhere else: no cookie, no storage. A reload forgets them.
let access = null;
let refresh = null;
// The renewal that is under way, if any. A refresh token is good for one renewal, so two requests that find their access
// token expired at the same time must share one.
let renewal = null;

const element = (id) => document.getElementById(id);

function note(text) {
  const entry = document.createElement("li");
  entry.textContent = `${new Date().toLocaleTimeString()}  ${text}`;
  element("log").prepend(entry);
}

function show(message = "") {
  element("login").hidden = access !== null;
  element("inside").hidden = access === null;
  element("message").textContent = message;
}

// Sends JSON to one of the token routes. Gives the answer's content, or throws an error that a person can read.
async function token(path, body) {
  const answer = await fetch(`/api/token/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const content = await answer.json();
  if (!answer.ok) {
    const error = new Error(content.detail ?? "The form is not complete.");
    error.status = answer.status;
    throw error;
  }
  return content;
}

// A lost answer is no reason to log out: for some seconds, whoever sends the same token again gets the same answer.
async function renewed() {
  try {
    return await token("refresh/", { refresh });
  } catch (error) {
    if (error.status && error.status < 500) throw error;
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
    return token("refresh/", { refresh });
  }
}

async function renew() {
  try {
    ({ access, refresh } = await renewed());
    note("renewed the access token, and got a new refresh token with it");
  } catch (error) {
    // Only a 401 says that the login is over. After a 503 or a lost connection, the next try may do.
    if (error.status !== 401) throw error;
    forget();
    throw new Error("Your login is over. Please log in again.");
  }
}

// A request with the access token. If that is refused, it is renewed, and the request is sent once more.
async function request(path, options = {}) {
  const used = access;
  const send = () => fetch(path, { ...options, headers: { ...options.headers, Authorization: `Bearer ${access}` } });
  const answer = await send();
  if (answer.status !== 401) return answer;
  note(`${path} answered 401: the access token has expired, or was revoked`);
  if (access === used) {
    renewal ??= renew().finally(() => { renewal = null; });
    await renewal;
  }
  return send();
}

function forget(message) {
  access = refresh = null;
  element("answer").textContent = "not asked yet";
  show(message);
}

async function login(event) {
  event.preventDefault();
  const form = new FormData(element("login"));
  try {
    ({ access, refresh } = await token("", { username: form.get("username"), password: form.get("password") }));
    element("login").reset();
    note("logged in");
    const who = await (await request("/api/token/whoami/")).json();
    element("user").textContent = who.user_id;
    element("session").textContent = who.session;
    show();
  } catch (error) {
    show(error.message);
  }
}

async function ask() {
  try {
    const answer = await request("/api/time");
    if (!answer.ok) throw new Error(`The API answered ${answer.status}.`);
    element("answer").textContent = await answer.text();
    show();
  } catch (error) {
    show(error.message);
  }
}

// Blacklisting the refresh token ends the session, and the access token with it.
async function logout() {
  // Not in the middle of a renewal: its answer would come after the end.
  await renewal?.catch(() => {});
  if (access === null) return;
  try {
    await token("blacklist/", { refresh });
    note("logged out: the server refuses both tokens from now on");
    forget("You are logged out.");
  } catch (error) {
    if (error.status === 401) forget("Your login was over already.");
    else show(`Not logged out: ${error.message}`);
  }
}

element("login").addEventListener("submit", login);
element("ask").addEventListener("click", ask);
element("logout").addEventListener("click", logout);
show();
