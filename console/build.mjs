// Builds one script for each page, and its style, into the folder that the program embeds. Each is a classic script that is whole by itself: the frame of
// the player has an origin of nobody, to which browsers give no modules.
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "vite";

const out = join(import.meta.dirname, "..", "internal", "console", "dist");
const pages = ["session", "watch", "play", "player"];

for (const name of await readdir(out)) {
	if (name !== "index.html") await rm(join(out, name), { recursive: true });
}
for (const page of pages) {
	await build({
		configFile: false,
		root: import.meta.dirname,
		logLevel: "warn",
		build: {
			outDir: out,
			emptyOutDir: false,
			target: "es2022",
			assetsInlineLimit: 0,
			lib: { entry: join(import.meta.dirname, "src", `${page}.ts`), formats: ["iife"], name: "gatehouse", fileName: () => `${page}.js`, cssFileName: page },
		},
		define: { "process.env.NODE_ENV": '"production"' },
	});
}
