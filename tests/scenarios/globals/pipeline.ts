const names = [
  "console", "setTimeout", "setInterval", "clearTimeout", "clearInterval", "queueMicrotask",
  "structuredClone", "URL", "URLSearchParams", "TextEncoder", "TextDecoder", "AbortController",
  "AbortSignal", "Event", "EventTarget", "performance", "atob", "btoa", "crypto",
  "Deno", "__bootstrap", "__ciStart", "process", "require", "fetch",
];

export const pipeline = async () => {
  for (const name of names) {
    console.log(name, typeof (globalThis as Record<string, unknown>)[name]);
  }
  console.log(new URL("../b?q=1#h", "https://example.com/a/c").href);
  console.log(new TextDecoder().decode(new TextEncoder().encode("héllo 🚀")));
  console.log(atob(btoa("round trip")));
  console.log(structuredClone({ date: new Date(0), map: new Map([[1, 2]]) }));
  console.log(/^[0-9a-f-]{36}$/.test(crypto.randomUUID()));
  console.log(crypto.getRandomValues(new Uint8Array(4)).length);
  console.log(performance.now() >= 0);
  const controller = new AbortController();
  controller.signal.addEventListener("abort", () => console.log("aborted"));
  controller.abort();
  await new Promise((resolve) => setTimeout(resolve, 1));
  console.log(new Intl.NumberFormat("de").format(1234.5));
  console.log(Object.isFrozen(runtime), Object.isFrozen(assert), Object.isFrozen(pipelineContext));
};
