// Goes on as soon as there is something else to show. Browsers take the stream up again by themselves when it is lost.
const stream = new EventSource(document.querySelector("[data-path]").dataset.path + "/events");
stream.addEventListener("change", () => {
  stream.close();
  location.reload();
});
// A stream that is refused is not taken up again: the page that comes says why.
stream.addEventListener("error", () => {
  if (stream.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 3000);
});
