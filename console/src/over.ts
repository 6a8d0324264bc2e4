import { part } from "./page";

/** Says over the page that there is nothing more to come, and what can be done. */
export function over(title: string, said: string, more = "", button = "", act?: () => void): void {
	const box = part("over");
	part("over-title").textContent = title;
	part("over-text").textContent = said;
	part("over-more").textContent = more;
	const press = part<HTMLButtonElement>("over-do");
	press.hidden = !act;
	press.textContent = button;
	press.onclick = () => {
		box.hidden = true;
		act?.();
	};
	box.hidden = false;
	(act ? press : part("over-title")).focus();
}
