// What can be done with a version of a model or a policy, each as a call and its question.

import { pathOf } from "./call.js";

/** Return the actions for a version of a model; `settings` are those of the policy in force, or null. */
export function modelActions(model, dataType, settings) {
  const { version, name, state, history } = model;
  const title = `version ${version} (${name})`;
  if (settings?.slots?.length) return slotActions(model, dataType, settings);
  if (state === "SERVING") {
    const question = `Take ${title} from the stage? Then nothing serves ${dataType}, until a version is published or rolled back to.`;
    return [{ label: `Retire version ${version}`, question, method: "DELETE", path: pathOf("models", dataType) }];
  }
  if (!history.some((each) => each.state === "SERVING")) return [];
  return [rollBack(version, `Have ${title} serve ${dataType} again?`, dataType)];
}

/** Under a policy, a model is on the slot of its name; to promote it is to have that slot alone. */
function slotActions({ version, name, state }, dataType, settings) {
  const { slots, shadows = [] } = settings;
  const [reference, canary] = settings.policy === "canary" ? slots : [];
  if (state === "SERVING" && name === canary) {
    return [promote(version, name, dataType, settings), reject(version, name, reference, dataType, settings)];
  }
  const isAlone = slots.length === 1 && slots[0] === name;
  if (state === "WARM" || (state === "SERVING" && !isAlone)) return [promote(version, name, dataType, settings)];
  if (state !== "RETIRED" || ![...slots, ...shadows].includes(name)) return [];
  return [rollBack(version, `Have version ${version} take the slot ${name} of ${dataType} again?`, dataType)];
}

function rollBack(version, question, dataType) {
  const path = pathOf("models", dataType, "rollback");
  return { label: `Roll back to version ${version}`, question, method: "POST", path, body: { version } };
}

function promote(version, name, dataType, settings) {
  const question = `Have the slot ${name} (version ${version}) alone answer for ${dataType}? The policy ${settings.policy} ends.`;
  const description = `version ${version} (${name}) was promoted on the page`;
  return alone({ label: `Promote version ${version}`, question }, name, description, dataType, settings);
}

function reject(version, name, reference, dataType, settings) {
  const question = `Reject version ${version} (${name})? Then ${reference} alone answers for ${dataType}.`;
  const description = `version ${version} (${name}) was rejected on the page`;
  return alone({ label: `Reject version ${version}`, question }, reference, description, dataType, settings);
}

/** What a canary's trial publishes when it ends. */
function alone(action, name, description, dataType, settings) {
  const { shadows = [], decoy, tolerance } = settings;
  const body = { policy: "latest", slots: [name], shadows: shadows.filter((each) => each !== name) };
  if (decoy !== undefined) body.decoy = decoy;
  if (tolerance !== undefined) body.tolerance = tolerance;
  return { ...action, method: "PUT", path: pathOf("policies", dataType), body: { ...body, description } };
}

/** Return the actions for a version of a policy. */
export function policyActions({ version, policy, state, settings }, dataType) {
  const path = pathOf("policies", dataType);
  if (!settings) return [];
  if (state === "IN_FORCE") {
    const question = `Have no policy for ${dataType} any more? The newest of the models on stage goes on serving.`;
    return [{ label: `Remove policy ${version}`, question, method: "DELETE", path }];
  }
  if (state !== "REPLACED") return [];
  const question = `Put policy ${version} (${policy}) in force for ${dataType} again?`;
  const label = `Roll back to policy ${version}`;
  return [{ label, question, method: "POST", path: `${path}/rollback`, body: { version } }];
}
