// The page of a session: a terminal, and the files of its target.
import "./style.css";
import { Files } from "./files";
import { over } from "./over";
import { ask, clock, make, part, text, told } from "./page";
import { open } from "./terminal";
import { Wire } from "./wire";

const path = told("path");
const patience = Number(told("patience")) || 60_000;
const clipboard = told("clipboard") === "true";
const state = part("state");
const encoder = new TextEncoder();

const { term, fit } = open(part("terminal"), { cursorBlink: true, disableStdin: told("shell") !== "true" });
term.textarea?.setAttribute("aria-label", text("leave"));

const wire = new Wire(path, patience, {
	size: () => ({ cols: term.cols, rows: term.rows }),
	reset: () => term.reset(),
	output(bytes, old, done) {
		if (old) replaying++;
		term.write(bytes, () => {
			if (old) replaying--;
			done();
		});
	},
	state(now) {
		state.className = `state ${now}`;
		state.textContent = text(now);
	},
	notice(said, endsAt, idle) {
		const minutes = endsAt ? Math.max(1, Math.round((endsAt.getTime() - Date.now()) / 60_000)) : 0;
		tell(endsAt ? text(idle ? "idle_at" : "ends_at", clock(endsAt), minutes) : said);
		fleeting = idle;
	},
	unrecorded() {
		const badge = document.querySelector(".recorded");
		if (badge) badge.textContent = text("unrecorded");
		badge?.classList.add("not");
	},
	end(reason, said) {
		state.className = "state";
		state.textContent = text("over");
		term.options.disableStdin = true;
		term.options.cursorBlink = false;
		if (reason === "replaced") {
			return over(text("replaced"), text("replaced_do"), "", text("retake"), () => {
				term.options.disableStdin = told("shell") !== "true";
				wire.retake();
				term.focus();
			});
		}
		files?.stop();
		part("notices").replaceChildren();
		document.querySelector(".recorded")?.remove();
		const why = said || (reason === "lost" ? text("ended_lost") : text("ended_gone"));
		over(text("ended"), why, text("ended_again"));
	},
});

// What a page that has gone was asked, this one does not answer again: the answer would be typed into whatever runs there now.
let replaying = 0;
let fleeting = false; // what is told goes once somebody types
term.onData((data) => {
	if (fleeting) part("notices").replaceChildren();
	fleeting = false;
	if (replaying === 0) wire.input(encoder.encode(data));
});
term.onBinary((data) => {
	if (replaying === 0) wire.input(Uint8Array.from(data, (c) => c.charCodeAt(0)));
});
term.onResize(({ cols, rows }) => wire.resize(cols, rows));

let settling = 0;
new ResizeObserver(() => {
	window.clearTimeout(settling);
	settling = window.setTimeout(() => fit.fit(), 40);
}).observe(part("terminal"));

/** Tells something above the terminal, in place of what was told before. */
function tell(said: string): void {
	fleeting = false;
	const line = make("p");
	const dismiss = make("button", "", text("dismiss"));
	dismiss.type = "button";
	dismiss.onclick = () => line.remove();
	line.append(make("span", "", said), dismiss);
	part("notices").replaceChildren(line);
}

term.attachCustomKeyEventHandler((event) => {
	if (event.type !== "keydown") return true;
	if (event.ctrlKey && event.key === "F6") {
		part("reader").focus();
		return false;
	}
	// Ctrl+C belongs to the target. Browsers paste by Ctrl+Shift+V themselves.
	if (event.ctrlKey && event.shiftKey && event.code === "KeyC") {
		event.preventDefault();
		if (clipboard && term.hasSelection()) void navigator.clipboard?.writeText(term.getSelection());
		return false;
	}
	return !(event.ctrlKey && event.shiftKey && event.code === "KeyV");
});
if (!clipboard) {
	for (const kind of ["copy", "cut", "paste", "beforeinput"] as const) {
		part("terminal").addEventListener(
			kind,
			(event) => {
				if (event instanceof InputEvent && event.inputType !== "insertFromPaste" && event.inputType !== "insertFromDrop") return;
				event.preventDefault();
				event.stopImmediatePropagation();
				tell(text("no_clipboard"));
			},
			true,
		);
	}
}

const reader = part<HTMLButtonElement>("reader");
reader.onclick = () => {
	term.options.screenReaderMode = !term.options.screenReaderMode;
	reader.setAttribute("aria-pressed", String(term.options.screenReaderMode));
	term.focus();
};
part("disconnect").onclick = () => {
	if (window.confirm(text("confirm_end"))) void ask(`${path}/end`, { method: "POST" });
};

const files = told("files") === "true" ? new Files(path) : null;
files?.onhide(() => term.focus());

fit.fit();
term.focus();
void wire.connect();
