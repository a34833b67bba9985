import { greeting } from "./lib/greeting.ts";
import settings from "./settings.json" with { type: "json" };
import { shout } from "modern";

export const pipeline = async () => {
  console.log(shout(greeting(settings.name)));
  console.log(import.meta.url.endsWith("/pipeline.ts"), import.meta.filename === `${import.meta.dirname}/pipeline.ts`);
  const lazy = await import("./lib/lazy.mjs");
  console.log(lazy.default);
};
