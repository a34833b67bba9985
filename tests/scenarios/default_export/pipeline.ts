export default async function () {
  console.log("the default export ran");
}
