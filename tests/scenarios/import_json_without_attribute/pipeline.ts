import settings from "./settings.json";

export const pipeline = async () => console.log(settings);
