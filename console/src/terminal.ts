import { FitAddon } from "@xterm/addon-fit";
import { type ITerminalOptions, Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";

/** The colours are the same by day and by night: programs choose theirs for a dark terminal. */
const theme = {
	background: "#14181b",
	foreground: "#e4e7ea",
	cursor: "#5ec4bf",
	cursorAccent: "#14181b",
	selectionBackground: "#2f5f63",
	black: "#2a3136",
	red: "#f08272",
	green: "#8ccf7e",
	yellow: "#e5c76b",
	blue: "#7fb4e8",
	magenta: "#cf9ee3",
	cyan: "#6fcfc7",
	white: "#d5d9dd",
	brightBlack: "#8b969f",
	brightRed: "#f6a192",
	brightGreen: "#a9e09c",
	brightYellow: "#f1d98c",
	brightBlue: "#a2cbf3",
	brightMagenta: "#dfbaf0",
	brightCyan: "#94e0d9",
	brightWhite: "#ffffff",
};

/**
 * Sequences that a target must not reach the person's browser or window with (rule W10): titles and icon names, the colour of a palette being asked for
 * by OSC 4, links, notifications, the clipboard, and what other terminals added.
 */
const forbiddenOSC = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 19, 21, 22, 50, 52, 99, 133, 633, 777, 1337];

/** A terminal that obeys nothing but what draws. */
export function open(into: HTMLElement, options: ITerminalOptions): { term: Terminal; fit: FitAddon } {
	const term = new Terminal({
		theme,
		fontFamily: 'ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace',
		fontSize: 14,
		scrollback: 5000,
		allowProposedApi: false,
		windowOptions: {}, // no reports of the window, no resizing of it
		linkHandler: { activate: () => {} },
		minimumContrastRatio: 4.5,
		...options,
	});
	for (const code of forbiddenOSC) term.parser.registerOscHandler(code, () => true);
	term.parser.registerDcsHandler({ intermediates: "$", final: "q" }, () => true); // DECRQSS answers with what was set, as if it was typed
	term.parser.registerDcsHandler({ intermediates: "+", final: "q" }, () => true); // XTGETTCAP
	const fit = new FitAddon();
	term.loadAddon(fit);
	term.open(into);
	return { term, fit };
}
