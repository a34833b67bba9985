// Times beyond 2^31 milliseconds, 24.8 days, are times like any others: none of these fires at once.
export const pipeline = async () => {
  const month = 30 * 24 * 3600 * 1000;
  const fired: string[] = [];
  const timers = [month, 2 ** 31, 2 ** 32, 2 ** 32 + 5, Number.MAX_SAFE_INTEGER, Infinity].map((ms) =>
    setTimeout(() => fired.push(`timeout ${ms}`), ms)
  );
  const interval = setInterval(() => fired.push("interval"), month);
  const signal = AbortSignal.timeout(month);
  signal.addEventListener("abort", () => fired.push("signal"));
  const any = AbortSignal.any([signal, AbortSignal.timeout(2 ** 31)]);

  const { code } = await runtime.run({
    name: "short",
    image: "busybox",
    command: { path: "true" },
    timeout: "1000d",
    signal,
  });
  await new Promise((resolve) => setTimeout(resolve, 2));
  timers.forEach(clearTimeout);
  clearInterval(interval);
  console.log(code, signal.aborted, any.aborted, fired);

  const soon = AbortSignal.timeout(1);
  await new Promise((resolve) => soon.addEventListener("abort", resolve));
  console.log((soon.reason as Error).name, setTimeout.name, AbortSignal.timeout.length);
};
