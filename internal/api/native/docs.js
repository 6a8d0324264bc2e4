"use strict";
document.documentElement.classList.add("script");

// Copies the example next to a button.
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.nextElementSibling.textContent;
    try {
      await navigator.clipboard.writeText(code);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Press Ctrl+C";
      getSelection().selectAllChildren(button.parentElement.nextElementSibling);
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

// Narrows the list of operations to those that contain every word.
const filter = document.querySelector("#filter");
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const link of document.querySelectorAll("nav a.op")) {
    const text = link.dataset.text.toLowerCase();
    link.hidden = !words.every((word) => text.includes(word));
  }
  for (const group of document.querySelectorAll("nav section")) {
    group.hidden = !group.querySelector("a.op:not([hidden])");
  }
});
