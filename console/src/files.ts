import { ask, make, moment, part, refusal, shown, size, text } from "./page";

interface Entry {
	name: string;
	kind: "file" | "folder" | "link" | "other";
	size: number;
	modified: string;
}

interface Folder {
	path: string;
	parent: string;
	entries: Entry[];
	more: boolean;
}

/** The panel with the files of the target: what is in a folder, up and down. */
export class Files {
	private folder: Folder | null = null;
	private readonly panel = part("files");
	private readonly toggle = part<HTMLButtonElement>("files-toggle");
	private readonly path = part<HTMLInputElement>("path");
	private readonly listing = part("listing");
	private readonly waiting: (() => Promise<void>)[] = [];
	private busy = false;
	private over = false;
	private hidden: () => void = () => {};

	constructor(private readonly session: string) {
		this.toggle.onclick = () => this.show(this.panel.hidden);
		part("files-close").onclick = () => this.show(false);
		part<HTMLFormElement>("folder").onsubmit = (event) => {
			event.preventDefault();
			void this.open(this.path.value);
		};
		const input = part<HTMLInputElement>("upload");
		input.onchange = () => {
			this.uploadAll([...(input.files ?? [])]);
			input.value = "";
		};
		this.panel.onkeydown = (event) => {
			if (event.key === "Escape") this.show(false);
		};
		// Wherever on the page files are let go: a browser would leave the session to show them.
		const main = part("terminal").parentElement ?? document.body;
		for (const kind of ["dragenter", "dragover"] as const) {
			window.addEventListener(kind, (event) => {
				if (!event.dataTransfer?.types.includes("Files")) return;
				event.preventDefault();
				if (main.contains(event.target as Node)) {
					if (this.panel.hidden) this.show(true);
					this.panel.classList.add("over");
				}
			});
		}
		window.addEventListener("dragleave", (event) => {
			if (!event.relatedTarget) this.panel.classList.remove("over");
		});
		window.addEventListener("drop", (event) => {
			this.panel.classList.remove("over");
			if (!event.dataTransfer?.types.includes("Files")) return;
			event.preventDefault();
			const items = [...event.dataTransfer.items];
			if (items.some((item) => item.webkitGetAsEntry?.()?.isDirectory)) this.say(text("no_folders"), true);
			else this.uploadAll([...event.dataTransfer.files]);
		});
	}

	/** Calls back when the panel is put away. */
	onhide(then: () => void): void {
		this.hidden = then;
	}

	/** Nothing more can be carried. */
	stop(): void {
		this.over = true;
		this.toggle.disabled = true;
		this.waiting.length = 0;
	}

	private show(open: boolean): void {
		this.panel.hidden = !open;
		this.toggle.setAttribute("aria-expanded", String(open));
		if (!open) return this.hidden();
		if (!this.folder) void this.open("");
		this.path.focus();
	}

	private say(what: string, bad = false): void {
		const line = part("files-say");
		line.textContent = what;
		line.classList.toggle("bad", bad);
	}

	private async open(path: string): Promise<boolean> {
		this.say(text("loading"));
		try {
			const answer = await ask(`${this.session}/files?path=${encodeURIComponent(path)}`);
			if (!answer.ok) {
				this.say(await refusal(answer), true);
				return false;
			}
			this.folder = await answer.json();
		} catch {
			this.say(text("wrong"), true);
			return false;
		}
		this.draw();
		return true;
	}

	private draw(): void {
		const folder = this.folder;
		if (!folder) return;
		this.path.value = folder.path;
		this.say(folder.more ? text("more") : folder.entries.length === 0 ? text("empty") : "");
		const table = make("table");
		const head = table.createTHead().insertRow();
		for (const name of ["name", "size", "changed"]) {
			const cell = make("th", "", text(name));
			cell.scope = "col";
			head.append(cell);
		}
		const body = table.createTBody();
		if (folder.parent) {
			const up = this.row("..", text("up"), () => void this.open(folder.parent));
			up.insertCell();
			up.insertCell();
			body.append(up);
		}
		for (const entry of folder.entries) {
			const at = this.inside(entry.name);
			const row =
				entry.kind === "folder"
					? this.row(shown(entry.name), text("folder", shown(entry.name)), () => void this.open(at))
					: entry.kind === "link"
						? this.row(shown(entry.name), text("folder", shown(entry.name)), () => void this.follow(at, entry.name))
						: this.fileRow(entry, at);
			row.insertCell().textContent = entry.kind === "file" ? size(entry.size) : "";
			row.insertCell().textContent = moment(new Date(entry.modified));
			body.append(row);
		}
		this.listing.replaceChildren(table);
		this.listing.scrollTop = 0;
	}

	private row(name: string, label: string, act: () => void): HTMLTableRowElement {
		const row = make("tr");
		const button = make("button", "", name);
		button.type = "button";
		button.title = label;
		button.onclick = act;
		row.insertCell().append(button);
		return row;
	}

	private fileRow(entry: Entry, at: string): HTMLTableRowElement {
		const row = make("tr");
		const cell = row.insertCell();
		if (entry.kind !== "file") {
			cell.textContent = shown(entry.name);
			return row;
		}
		const link = make("a", "", shown(entry.name));
		link.href = this.content(at);
		link.download = entry.name;
		link.title = text("download", shown(entry.name));
		cell.append(link);
		return row;
	}

	/** A link may lead to a folder or to a file: whatever opens. */
	private async follow(at: string, name: string): Promise<void> {
		if (await this.open(at)) return;
		const link = make("a");
		link.href = this.content(at);
		link.download = name;
		link.click();
		this.draw();
	}

	private inside(name: string): string {
		return `${this.folder?.path.replace(/\/$/, "") ?? ""}/${name}`;
	}

	private content(at: string): string {
		return `${this.session}/files/content?path=${encodeURIComponent(at)}`;
	}

	private uploadAll(files: File[]): void {
		const folder = this.folder;
		if (!folder || this.over) return;
		const there = new Set(folder.entries.map((entry) => entry.name));
		for (const file of files) {
			const replace = there.has(file.name);
			if (replace && !window.confirm(text("replace", shown(file.name)))) continue;
			const at = this.inside(file.name);
			const line = new Transfer(file);
			line.cancel.onclick = () => line.stop();
			this.waiting.push(async () => {
				await line.send(`${this.content(at)}${replace ? "&replace=true" : ""}`);
				if (this.folder?.path === folder.path) await this.open(folder.path);
			});
		}
		void this.work();
	}

	/** One at a time: the target's line is one. */
	private async work(): Promise<void> {
		if (this.busy) return;
		this.busy = true;
		for (let next = this.waiting.shift(); next; next = this.waiting.shift()) await next();
		this.busy = false;
	}
}

/** One file on its way to the target. */
class Transfer {
	readonly cancel = make("button", "", text("cancel"));
	private readonly line = make("div", "transfer");
	private readonly bar = make("progress");
	private readonly note = make("span");
	private request: XMLHttpRequest | null = null;
	private stopped = false;

	constructor(private readonly file: File) {
		this.cancel.type = "button";
		this.bar.max = Math.max(1, file.size);
		this.bar.value = 0;
		this.bar.setAttribute("aria-label", shown(file.name));
		this.line.append(make("b", "", shown(file.name)), this.cancel, this.bar, this.note);
		part("transfers").prepend(this.line);
	}

	stop(): void {
		this.stopped = true;
		if (this.request) this.request.abort();
		else this.end(text("cancelled"), true);
	}

	send(path: string): Promise<void> {
		return new Promise((done) => {
			if (this.stopped) return done();
			// fetch tells nothing of what was sent already
			const request = new XMLHttpRequest();
			this.request = request;
			request.open("PUT", path);
			request.setRequestHeader("X-Gatehouse-Csrf", "1");
			request.setRequestHeader("Content-Type", "application/octet-stream");
			request.upload.onprogress = (event) => {
				this.bar.value = event.loaded;
				this.note.textContent = text("uploading", size(event.loaded), size(this.file.size));
			};
			request.onload = () => {
				if (request.status < 300) {
					this.bar.value = this.bar.max;
					this.end(`${text("uploaded")} · ${size(this.file.size)}`, false);
				} else {
					this.end(detail(request.responseText), true);
				}
				done();
			};
			request.onerror = () => {
				this.end(text("wrong"), true);
				done();
			};
			request.onabort = () => {
				this.end(text("cancelled"), true);
				done();
			};
			request.send(this.file);
		});
	}

	private end(said: string, bad: boolean): void {
		this.note.textContent = said;
		this.line.classList.toggle("bad", bad);
		this.cancel.remove();
	}
}

function detail(body: string): string {
	try {
		const problem = JSON.parse(body);
		if (typeof problem.detail === "string") return problem.detail;
	} catch {
		// no problem in JSON: a proxy answered
	}
	return text("wrong");
}
