// What runs in the player's frame: it gets a recording from the page that holds it, and nothing else from anywhere.
import "asciinema-player/dist/bundle/asciinema-player.css";
import "./player.css";
import { create, type Player } from "asciinema-player";

interface Handed {
	cast: string;
	texts: { speed: string };
}

const speeds = [0.5, 1, 2, 4, 8];
const screen = document.getElementById("screen") as HTMLElement;
let player: Player | null = null;
let speed = 1;
let handed: Handed | null = null;

function draw(startAt: number, playing: boolean): void {
	if (!handed) return;
	player?.dispose();
	const { cast } = handed;
	player = create({ data: cast }, screen, {
		fit: "both",
		controls: true,
		preload: true,
		autoPlay: playing,
		startAt,
		speed,
		idleTimeLimit: 5,
		theme: "gatehouse",
		terminalFontFamily: 'ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace',
	});
}

/** The player takes its speed when it is made, so another speed is another player at the same place. */
function choices(label: string): HTMLElement {
	const box = document.createElement("label");
	box.className = "speed";
	box.append(`${label} `);
	const select = document.createElement("select");
	for (const one of speeds) select.add(new Option(`${one}×`, String(one), one === 1, one === speed));
	select.onchange = () => {
		speed = Number(select.value);
		draw(player?.getCurrentTime() ?? 0, true);
	};
	box.append(select);
	return box;
}

window.addEventListener("message", (event) => {
	if (event.source !== window.parent || typeof event.data?.cast !== "string") return;
	try {
		const first = !handed;
		handed = event.data as Handed;
		if (first) document.body.append(choices(handed.texts.speed));
		draw(0, false);
	} catch {
		window.parent.postMessage("failed", "*");
	}
});
window.parent.postMessage("ready", "*");
