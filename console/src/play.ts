// The page of a recording. What a target printed never touches it: it is handed to a frame that has no origin and reaches nothing (rule W4).
import "./style.css";
import { ask, part, refusal, text, told } from "./page";

const path = told("path");
const frame = document.getElementById("player") as HTMLIFrameElement | null;
const texts = { speed: text("speed") };
let cast = "";
let ready = false;

function say(what: string, bad = false): void {
	const line = part("say");
	line.textContent = what;
	line.classList.toggle("bad", bad);
}

function hand(): void {
	if (ready && cast) frame?.contentWindow?.postMessage({ cast, texts }, "*"); // the frame's origin has no name
}

async function load(track: string): Promise<void> {
	say(text("loading"));
	try {
		const given = await ask(`${path}/ticket`, { method: "POST" });
		if (!given.ok) return say(await refusal(given), true);
		const { ticket } = await given.json();
		const answer = await ask(`${path}/data?track=${encodeURIComponent(track)}`, { headers: { "Recording-Ticket": ticket } });
		if (!answer.ok) return say(await refusal(answer), true);
		cast = await answer.text();
	} catch {
		return say(text("play_failed"), true);
	}
	say("");
	hand();
}

if (frame) {
	window.addEventListener("message", (event) => {
		if (event.source !== frame.contentWindow) return;
		if (event.data === "ready") {
			ready = true;
			hand();
		}
		if (event.data === "failed") say(text("play_failed"), true);
	});
	const tracks = part<HTMLSelectElement>("track");
	tracks.onchange = () => void load(tracks.value);
	void load(tracks.value);
}
