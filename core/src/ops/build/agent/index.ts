export { AGENT_INPUT, AGENT_PATH, type Agent, copyAgent, findAgent, putAgent } from "./agent.ts";
