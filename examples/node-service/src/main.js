import { createApp } from "./app.js";
import { version } from "./version.js";

if (process.argv.includes("--version")) {
  process.stdout.write(`${version}\n`);
} else {
  const app = createApp({ version });
  app.listen(process.env.PORT ?? 8080, () => {
    process.stdout.write(`listening on port ${app.address().port}\n`);
  });
}
