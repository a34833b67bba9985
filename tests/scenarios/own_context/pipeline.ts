// args: --driver native
export const pipeline = async () => {
  console.log(/^[0-9a-f-]{36}$/.test(pipelineContext.runID), pipelineContext.pipelineID);
  console.log(pipelineContext.driverName, pipelineContext.args);
};
