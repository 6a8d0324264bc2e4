import { ask } from "./page";

/** What the server says beside output. */
interface Message {
	type: "ready" | "notice" | "taken" | "unrecorded" | "end";
	offset?: number; // ready: where the output that follows begins; taken: how much input the target took
	until?: number; // ready: output before it was seen already, by a page that has gone
	input?: number; // ready: how much input has arrived
	text?: string;
	ends_at?: string;
	idle?: boolean; // notice: typing takes it back
	reason?: string;
}

/** What becomes of a connection. */
export interface Hooks {
	size(): { cols: number; rows: number };
	/** Output that this page has seen no longer follows on: it begins anew. */
	reset(): void;
	/** Draws output and calls done once it is drawn. old: it was answered by a page that has gone, and is not answered again. */
	output(bytes: Uint8Array, old: boolean, done: () => void): void;
	state(now: "connecting" | "connected" | "lost"): void;
	notice(text: string, endsAt: Date | null, idle: boolean): void;
	/** The session goes on although nothing is recorded any more. */
	unrecorded(): void;
	end(reason: string, text: string): void;
}

const chunk = 16 * 1024; // of input in one message
const ahead = 128 * 1024; // of input that the target has not taken
const ackEvery = 64 * 1024; // of output

/** The close code of a socket whose place another window took. */
const replaced = 4001;

/**
 * The connection of a terminal. Output and input are counted in bytes; what was not seen or not taken when a connection is lost is sent again over the
 * next, so nothing is lost as long as the server keeps the session.
 */
export class Wire {
	private socket: WebSocket | null = null;
	private over = false;
	private seen = 0; // output that arrived
	private drawn = 0; // output that was drawn
	private acked = 0;
	private old = 0; // output before it is not answered
	private begun = false; // the server said where output begins

	private queue: Uint8Array[] = []; // input from offset `taken` on
	private taken = 0;
	private sent = 0;
	private queued = 0; // the offset behind the queue

	private tries = 0;
	private lostAt = 0;
	private timer = 0;
	private ackTimer = 0;

	constructor(
		private readonly path: string,
		private readonly patience: number, // ms for which the server keeps a session whose page has gone
		private readonly hooks: Hooks,
	) {
		window.addEventListener("online", () => this.retryNow());
	}

	/** Connects, and stays connected until the session ends. */
	async connect(): Promise<void> {
		if (this.over || this.socket) return;
		this.hooks.state("connecting");
		let ticket = "";
		try {
			const answer = await ask(`${this.path}/ticket`, { method: "POST" });
			const said = await answer.json();
			if (!answer.ok) {
				// The session is over, or not ours any more. Anything else may be a proxy between, and is tried again.
				if (answer.status < 500 && answer.status !== 429) return this.finish(said.code ?? "gone", said.detail ?? "");
				throw new Error(said.detail);
			}
			ticket = said.ticket;
		} catch {
			return this.again();
		}
		if (this.over || this.socket) return;
		const url = new URL(`${this.path}/terminal`, location.href);
		url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
		const socket = new WebSocket(url);
		socket.binaryType = "arraybuffer";
		this.socket = socket;
		socket.onopen = () => socket.send(JSON.stringify({ ticket, ...this.hooks.size(), from: this.seen }));
		socket.onmessage = (event) => {
			if (this.socket === socket) this.receive(event.data);
		};
		socket.onclose = (event) => {
			if (this.socket !== socket) return;
			this.socket = null;
			if (this.over) return;
			if (event.code === replaced) return this.finish("replaced", "");
			this.again();
		};
	}

	/** Takes the session back from another window. */
	retake(): void {
		this.over = false;
		this.begun = false;
		this.seen = this.drawn = this.acked = 0;
		this.queue = [];
		this.taken = this.sent = this.queued = 0;
		this.tries = 0;
		this.lostAt = 0;
		void this.connect();
	}

	/** Sends input, at once or as soon as the target takes it. */
	input(bytes: Uint8Array): void {
		if (this.over || bytes.length === 0) return;
		this.queue.push(bytes);
		this.queued += bytes.length;
		this.pump();
	}

	/** Tells the size of the terminal. */
	resize(cols: number, rows: number): void {
		if (this.begun && this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type: "resize", cols, rows }));
	}

	private receive(data: string | ArrayBuffer): void {
		if (typeof data !== "string") return this.output(new Uint8Array(data));
		const m: Message = JSON.parse(data);
		switch (m.type) {
			case "ready":
				return this.ready(m);
			case "taken":
				this.forget(m.offset ?? 0);
				return this.pump();
			case "notice":
				return this.hooks.notice(m.text ?? "", m.ends_at ? new Date(m.ends_at) : null, m.idle ?? false);
			case "unrecorded":
				return this.hooks.unrecorded();
			case "end":
				return this.finish(m.reason ?? "closed", m.text ?? "");
		}
	}

	private ready(m: Message): void {
		const offset = m.offset ?? 0;
		const input = m.input ?? 0;
		if (!this.begun || offset !== this.seen) {
			this.hooks.reset();
			this.seen = this.drawn = this.acked = offset;
			this.old = m.until ?? offset;
		}
		if (!this.begun) {
			this.taken = this.sent = input;
			this.queued += input; // what was typed before begins here
			this.begun = true;
		} else {
			this.forget(input);
			this.sent = this.taken;
		}
		this.tries = 0;
		this.lostAt = 0;
		this.hooks.state("connected");
		const { cols, rows } = this.hooks.size();
		this.resize(cols, rows); // it may have changed on the way
		this.pump();
	}

	private output(bytes: Uint8Array): void {
		const isOld = this.seen < this.old;
		this.seen += bytes.length;
		const end = this.seen;
		this.hooks.output(bytes, isOld, () => {
			if (end <= this.drawn) return; // of before a new beginning
			this.drawn = end;
			if (this.drawn - this.acked >= ackEvery) this.ack();
			else if (!this.ackTimer) this.ackTimer = window.setTimeout(() => this.ack(), 200);
		});
	}

	private ack(): void {
		window.clearTimeout(this.ackTimer);
		this.ackTimer = 0;
		if (this.drawn === this.acked || this.socket?.readyState !== WebSocket.OPEN) return;
		this.acked = this.drawn;
		this.socket.send(JSON.stringify({ type: "ack", offset: this.acked }));
	}

	/** Drops the input that has arrived. */
	private forget(offset: number): void {
		while (this.taken < offset) {
			const first = this.queue[0];
			if (!first) break;
			const part = Math.min(first.length, offset - this.taken);
			this.taken += part;
			if (part === first.length) this.queue.shift();
			else this.queue[0] = first.subarray(part);
		}
		this.sent = Math.max(this.sent, this.taken);
	}

	private pump(): void {
		if (!this.begun || this.socket?.readyState !== WebSocket.OPEN) return;
		let at = this.taken;
		for (const piece of this.queue) {
			for (let from = Math.max(0, this.sent - at); from < piece.length && this.sent - this.taken < ahead; from += chunk) {
				const part = piece.subarray(from, Math.min(from + chunk, piece.length));
				this.socket.send(part as Uint8Array<ArrayBuffer>);
				this.sent += part.length;
			}
			at += piece.length;
			if (this.sent < at) return;
		}
	}

	private again(): void {
		const now = Date.now();
		this.lostAt ||= now;
		this.hooks.state("lost");
		if (this.begun && now - this.lostAt > this.patience + 15_000) return this.finish("lost", "");
		const wait = this.tries === 0 ? 0 : Math.min(3000, 250 * 2 ** this.tries);
		this.tries++;
		window.clearTimeout(this.timer);
		this.timer = window.setTimeout(() => void this.connect(), wait);
	}

	private retryNow(): void {
		if (this.socket || this.over || !this.lostAt) return;
		window.clearTimeout(this.timer);
		void this.connect();
	}

	private finish(reason: string, said: string): void {
		if (this.over) return;
		this.over = true;
		this.socket?.close();
		this.socket = null;
		this.hooks.end(reason, said);
	}
}
