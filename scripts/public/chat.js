"use strict";

// The page of the chat: a door (POST /login/enter, which sets a cookie) and a
// house (a WebSocket, opened by that cookie).

const $ = (id) => document.getElementById(id);

const house = {
    socket: null,
    name: null,
    room: location.hash.slice(1) || "lobby",
    rooms: [], // { name, people } as the server said last
    people: new Set(), // in our room
    seen: new Set(), // ids of the lines shown
    waiting: new Map(), // id of a call -> what to do with its answer
    calls: 0,
    tries: 0,
};

// Reasons to stay away: these closes mean "do not come back by yourself".
const FINAL = {
    4003: "You were not logged in.",
    4004: "You were asked to leave.",
    4005: "You went on in another window.",
};

// ---- Calls ----------------------------------------------------------------

// Call a method over the WebSocket; a promise of its result.
function call(controller, method, params) {
    return new Promise((resolve, reject) => {
        if (!house.socket || house.socket.readyState !== WebSocket.OPEN) {
            reject(new Error("Not connected."));
            return;
        }
        const id = ++house.calls;
        house.waiting.set(id, { resolve, reject });
        house.socket.send(JSON.stringify({
            controller_name: controller,
            method_name: method,
            params,
            id,
        }));
    });
}

function onPacket(packet) {
    const waiting = house.waiting.get(packet.id);
    if (waiting) {
        house.waiting.delete(packet.id);
        if (packet.error) {
            waiting.reject(new Error(packet.error.message));
        } else {
            waiting.resolve(packet.result);
        }
    } else if (packet.event === "rooms") {
        showRooms(packet.rooms);
    } else if (packet.room === house.room) {
        onEvent(packet);
    }
}

function onEvent(packet) {
    if (packet.event === "line") {
        showLine(packet.line);
    } else if (packet.event === "joined" && !house.people.has(packet.name)) {
        house.people.add(packet.name);
        showEvent(packet.name + " came in");
    } else if (packet.event === "left" && house.people.delete(packet.name)) {
        showEvent(packet.name + " left");
    }
    showPeople();
}

// ---- The connection -------------------------------------------------------

function connect() {
    const scheme = location.protocol === "https:" ? "wss://" : "ws://";
    const socket = new WebSocket(scheme + location.host + "/ws");
    house.socket = socket;
    showState("connecting");
    socket.onopen = () => {
        house.tries = 0;
        showState("online");
        join(house.room);
    };
    socket.onmessage = (message) => onPacket(JSON.parse(message.data));
    socket.onclose = onClose;
}

function onClose(event) {
    for (const waiting of house.waiting.values()) {
        waiting.reject(new Error("The connection broke: perhaps done."));
    }
    house.waiting.clear();
    showState("offline");
    if (FINAL[event.code]) {
        notice(FINAL[event.code] + " Reload the page to come back.");
        return;
    }
    // A random wait, longer each time, so that all clients of a server that
    // comes back do not come at once.
    const wait = Math.min(30, 2 ** house.tries++) * (0.5 + Math.random());
    setTimeout(comeBack, wait * 1000);
}

// The pass may have ended meanwhile; a WebSocket could not tell us so.
async function comeBack() {
    try {
        const response = await fetch("/login/me");
        if (response.status === 401) {
            showDoor();
            return;
        }
    } catch (error) {
        // Not reachable: the WebSocket will find out again.
    }
    connect();
}

// ---- Rooms ----------------------------------------------------------------

async function join(name) {
    house.room = name;
    house.seen.clear();
    try {
        const view = await call("chat", "join", { room: name });
        if (house.room !== view.room) {
            return; // we went on meanwhile
        }
        notice("");
        history.replaceState(null, "", "#" + name);
        house.people = new Set(view.people);
        showRoom(view.lines);
        showRooms(await call("chat", "rooms"));
    } catch (error) {
        notice(error.message);
    }
}

function showRoom(lines) {
    $("title").textContent = house.room;
    document.title = "#" + house.room;
    $("export").href = "/history/text?room=" + encodeURIComponent(house.room);
    $("lines").replaceChildren();
    house.seen.clear();
    lines.forEach(showLine);
    showPeople();
}

function showRooms(rooms) {
    house.rooms = rooms;
    const items = rooms.map((room) => {
        const item = document.createElement("li");
        const button = document.createElement("button");
        const count = document.createElement("span");
        button.textContent = room.name;
        count.textContent = room.people || "";
        count.className = "count";
        count.title = room.people + " here";
        button.append(count);
        if (room.name === house.room) {
            button.setAttribute("aria-current", "true");
        }
        button.onclick = () => join(room.name);
        item.append(button);
        return item;
    });
    const had = document.activeElement.closest("#rooms li");
    const index = had ? [...$("rooms").children].indexOf(had) : -1;
    $("rooms").replaceChildren(...items);
    if (index >= 0 && items[index]) {
        items[index].firstChild.focus();
    }
}

function showPeople() {
    const names = [...house.people].sort();
    $("people").textContent = names.join(", ");
    $("people").title = names.length + " here";
}

// ---- Lines ----------------------------------------------------------------

// A hue of its own for every name (FNV-1a).
function hueOf(name) {
    let hash = 2166136261;
    for (const letter of name) {
        hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
    }
    return (hash >>> 0) % 360;
}

// The time of day; of another day, the day too.
function timeOf(at) {
    const time = { hour: "2-digit", minute: "2-digit" };
    const isToday = at.toDateString() === new Date().toDateString();
    return isToday
        ? at.toLocaleTimeString([], time)
        : at.toLocaleString([], { month: "short", day: "numeric", ...time });
}

function append(item) {
    const lines = $("lines");
    const atEnd =
        lines.scrollHeight - lines.scrollTop - lines.clientHeight < 80;
    lines.append(item);
    if (atEnd) {
        lines.scrollTop = lines.scrollHeight;
    }
}

function part(tag, kind, text) {
    const element = document.createElement(tag);
    element.className = kind;
    element.textContent = text;
    return element;
}

function showLine(line) {
    if (house.seen.has(line.id)) {
        return;
    }
    house.seen.add(line.id);
    const item = part("li", "line", "");
    const at = new Date(line.at * 1000);
    const last = $("lines").lastElementChild;
    if (last && last.dataset.name === line.name &&
        line.at - Number(last.dataset.at) < 300) {
        item.classList.add("same");
    }
    item.dataset.name = line.name;
    item.dataset.at = line.at;
    const name = part("span", "name", line.name);
    name.style.color = `hsl(${hueOf(line.name)} 55% var(--name-light))`;
    const time = part("time", "", timeOf(at));
    time.dateTime = at.toISOString();
    time.title = at.toLocaleString();
    item.append(name, time, part("p", "text", line.text));
    append(item);
}

function showEvent(text) {
    append(part("li", "event", text));
}

// ---- The rest of the page -------------------------------------------------

function showState(text) {
    $("state").textContent = text;
    $("state").classList.toggle("on", text === "online");
    $("say").querySelector("button").disabled = text !== "online";
}

function notice(text) {
    $("notice").textContent = text;
    $("notice").hidden = text === "";
}

function showDoor() {
    $("house").hidden = true;
    $("door").hidden = false;
    $("name").focus();
}

function showHouse(name) {
    house.name = name;
    $("me").textContent = name;
    $("door").hidden = true;
    $("house").hidden = false;
    $("text").focus();
    connect();
}

$("enter").onsubmit = async (event) => {
    event.preventDefault();
    $("door-error").textContent = "";
    try {
        const response = await fetch("/login/enter", {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ name: $("name").value }),
        });
        const answer = await response.json();
        if (!response.ok) {
            throw new Error(answer.error.message);
        }
        showHouse(answer.name);
    } catch (error) {
        $("door-error").textContent = error.message;
    }
};

$("say").onsubmit = async (event) => {
    event.preventDefault();
    const text = $("text").value;
    $("text").value = "";
    try {
        await call("chat", "say", { text });
        notice("");
    } catch (error) {
        $("text").value = text;
        notice(error.message);
    }
};

$("open").onsubmit = (event) => {
    event.preventDefault();
    join($("room").value);
    $("room").value = "";
};

window.onhashchange = () => {
    const room = location.hash.slice(1);
    if (room && room !== house.room) {
        join(room);
    }
};

// A browser may keep a page that was left, and its socket, to show it again:
// nobody is in the room meanwhile. Shown again, it comes back like any other
// that was cut off.
window.onpagehide = () => {
    if (house.socket) {
        house.socket.close();
    }
};

(async () => {
    const response = await fetch("/login/me");
    if (response.ok) {
        showHouse((await response.json()).name);
    } else {
        showDoor();
    }
})();
