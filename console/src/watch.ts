// The page of somebody who looks on at a session: nothing that is typed here goes anywhere.
import "./style.css";
import { over } from "./over";
import { ask, part, shown, text, told } from "./page";
import { open } from "./terminal";

type Event = [interval: number, code: string, data: string];

interface Message {
	type: "frames" | "watchers" | "end";
	events?: Event[][];
	names?: string[];
	reason?: string;
}

const path = told("path");
const state = part("state");
const into = part("terminal");
const { term } = open(into, { disableStdin: true, cursorBlink: false, cursorInactiveStyle: "block" });
let ended = false;
let tries = 0;

function show(now: "connecting" | "connected" | "lost"): void {
	state.className = `state ${now}`;
	state.textContent = text(now);
}

/** The terminal is as large as that of the person who is watched: its letters fit this window. */
function fit(): void {
	const perLetter = 0.602; // width of a letter of a monospaced face, in its size
	const width = (into.clientWidth - 32) / (term.cols * perLetter);
	const height = (into.clientHeight - 16) / (term.rows * 1.2);
	const fitting = Math.floor(Math.min(width, height));
	term.options.fontSize = Math.min(18, Math.max(7, fitting));
}
new ResizeObserver(fit).observe(into);

function play([, code, data]: Event): void {
	if (code === "o") term.write(data);
	if (code === "r") {
		const [cols, rows] = data.split("x").map(Number);
		if (cols && rows && cols <= 1000 && rows <= 1000) {
			term.resize(cols, rows);
			fit();
		}
	}
}

function finish(title: string, said: string): void {
	ended = true;
	state.className = "state";
	state.textContent = text("over");
	over(title, said);
}

function again(): void {
	if (ended) return;
	show("lost");
	window.setTimeout(() => void connect(), Math.min(5000, 250 * 2 ** tries++));
}

async function connect(): Promise<void> {
	show(tries === 0 ? "connecting" : "lost");
	let ticket = "";
	try {
		const answer = await ask(`${path}/ticket`, { method: "POST" });
		if (answer.status === 404) return finish(text("watch_end"), text("watch_end_do"));
		if (answer.status === 401 || answer.status === 403) return finish(text("watch_denied"), "");
		ticket = (await answer.json()).ticket;
	} catch {
		return again();
	}
	const url = new URL(`${path}/stream`, location.href);
	url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
	const socket = new WebSocket(url);
	socket.onopen = () => {
		socket.send(JSON.stringify({ ticket }));
		term.reset(); // the first frames begin anew
	};
	socket.onmessage = (event) => {
		const m: Message = JSON.parse(event.data);
		if (m.type === "end") return m.reason === "denied" ? finish(text("watch_denied"), "") : finish(text("watch_end"), text("watch_end_do"));
		show("connected");
		tries = 0;
		if (m.type === "watchers") part("who").textContent = (m.names ?? []).map(shown).join(", ");
		for (const frame of m.events ?? []) frame.forEach(play);
	};
	socket.onclose = again;
}

void connect();
