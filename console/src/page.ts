// What a page tells its script: by attributes of the body, where nothing can be mistaken for code.

/** The texts of the page's language, by name. */
const texts: Record<string, string> = JSON.parse(document.body.dataset["texts"] ?? "{}");

/** A text of the page's language. {0}, {1} stand for the values. */
export function text(name: string, ...values: (string | number)[]): string {
	return (texts[name] ?? name).replace(/\{(\d)\}/g, (_, n: string) => String(values[Number(n)] ?? ""));
}

/** What the page says of itself: the path of a session, for instance. */
export function told(name: string): string {
	return document.body.dataset[name] ?? "";
}

/** The element of that id, which the page has. */
export function part<T extends HTMLElement = HTMLElement>(id: string): T {
	const found = document.getElementById(id);
	if (!found) throw new Error(`the page has no #${id}`);
	return found as T;
}

/** A new element with a class and a text. */
export function make<K extends keyof HTMLElementTagNameMap>(kind: K, className = "", content = ""): HTMLElementTagNameMap[K] {
	const made = document.createElement(kind);
	if (className) made.className = className;
	if (content) made.textContent = content;
	return made;
}

/** A name from a target, safe to show: what a terminal or a reader would obey is shown as what it is. */
export function shown(name: string): string {
	return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}

/** A size in bytes as people read it. */
export function size(bytes: number): string {
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let n = bytes;
	let unit = 0;
	while (n >= 1024 && unit < units.length - 1) {
		n /= 1024;
		unit++;
	}
	return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

const lang = document.documentElement.lang || "en";

/** A moment as people of the page's language read it. */
export function moment(at: Date): string {
	return new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" }).format(at);
}

/** A time of the day. */
export function clock(at: Date): string {
	return new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit" }).format(at);
}

/** Sends a request to our own pages, which says that it began at one. */
export function ask(path: string, init: RequestInit = {}): Promise<Response> {
	return fetch(path, { ...init, credentials: "same-origin", headers: { ...init.headers, "X-Gatehouse-Csrf": "1" } });
}

/** What a refusal says. */
export async function refusal(answer: Response): Promise<string> {
	try {
		const problem = await answer.json();
		if (typeof problem.detail === "string") return problem.detail;
	} catch {
		// no problem in JSON: a proxy answered
	}
	return text("wrong");
}
