// Does what it is told, a step a line, and writes what came of it: see tests/clients/drivers.py.
import { createInterface } from "node:readline";

const { fromJson, toJson } = await import(process.argv[3]);

const { Client, InvalidArgument, MulliganError, Untrusted, v1 } = await import(process.argv[2]);

let client;

const local = (name) => name[0].toLowerCase() + name.slice(1);

function bound(chosen, step) {
  const [service, name] = step.method.split(".");
  const method = v1[service].method[local(name)];
  const request = fromJson(method.input, step.request ?? {});
  return { stub: chosen[local(service)], name: local(name), method, request };
}

function schemaOf(message) {
  return v1[`${message.$typeName.split(".").at(-1)}Schema`];
}

async function chosen(step) {
  const found = step.region === undefined ? client : await client.regions.client(step.region);
  return step.at === undefined ? found : found.at(step.at);
}

async function done(step) {
  if (step.op === "open") {
    const { address, ca, account, secret, project, patience } = step;
    client?.close();
    const patienceMs = patience * 1000;
    const traceparent = step.traceparent && (() => step.traceparent);
    client = new Client({ address, ca, account, secret, project, patienceMs, traceparent });
    return {};
  }
  if (step.op === "together") return Promise.all(step.steps.map(outcome));
  const on = await chosen(step);
  const options = step.traceparent === undefined ? undefined : { traceparent: step.traceparent };
  switch (step.op) {
    case "call": {
      const { stub, name, method, request } = bound(on, step);
      return toJson(method.output, await stub[name](request, options));
    }
    case "take": {
      const { stub, name, method, request } = bound(on, step);
      const taken = [];
      for await (const message of stub[name](request, options)) {
        taken.push(toJson(method.output, message));
        if (taken.length === step.count) break;
      }
      return taken;
    }
    case "every": {
      const { stub, name, request } = bound(on, step);
      const found = [];
      const all = name.replace(/^(list|find)/, "$1All");
      for await (const item of stub[all](request, step.limit ?? 0, options)) {
        found.push(toJson(schemaOf(item), item));
      }
      return found;
    }
    case "resolve":
      return on.names.resolve(step.kind, step.name);
    case "positions":
      return Object.fromEntries([...on.positions].map(([region, seq]) => [region, String(seq)]));
    case "log_out":
      await on.logOut();
      return {};
    case "close":
      on.close();
      return {};
  }
  throw new Error(`no client can ${step.op}`);
}

async function outcome(step) {
  try {
    return { answer: await done(step) };
  } catch (error) {
    if (!(error instanceof MulliganError)) return { error: "BUG", message: String(error.stack) };
    const told = { error: error.name, message: error.message };
    if (error instanceof Untrusted) told.error = "Unavailable"; // as its parent is called
    if (error instanceof InvalidArgument) {
      told.violations = Object.fromEntries(error.violations.map((v) => [v.field, v.description]));
    }
    const { kind, key } = error.details;
    if (key) told.resource = [kind, key];
    if (Object.keys(error.details.facts).length > 0) told.facts = error.details.facts;
    return told;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await outcome(JSON.parse(line)))}\n`);
}
client?.close();
