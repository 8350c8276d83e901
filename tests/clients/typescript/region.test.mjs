// The client against a real region, which tests/clients/test_real_region.py runs:
// MULLIGAN_ADDRESS and the like say where it is, RUN_FOLDER holds the process ids of its services.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

const { Client, newId, NotFound, PermissionDenied, Unauthenticated, Untrusted } = await import(
  process.env.CLIENT
);

const SECRET = "a-secret-of-a-tenant";
let admin;
let tenant;

const pid = (service) => Number(readFileSync(join(process.env.RUN_FOLDER, `${service}.pid`), "utf8"));
const kill = (service) => process.kill(pid(service), "SIGKILL");

before(async () => {
  admin = Client.fromEnvironment({ patienceMs: 30_000 });
  await admin.iam.createProject({ name: "amber" });
  await admin.iam.createAccount({ name: "tess", secret: SECRET });
  await admin.iam.bindRole({ account: "tess", binding: { role: "member", project: "amber" } });
  tenant = Client.fromEnvironment({ account: "tess", secret: SECRET, project: "amber" });
});

after(() => {
  admin?.close();
  tenant?.close();
});

test("one address is enough to know every service and who one is", async () => {
  const me = await admin.iam.whoAmI({});
  assert.equal(me.accountName, "admin");
  const services = new Set((await admin.endpoints()).map((one) => one.service));
  for (const service of ["iam", "meta", "resource", "control", "log"]) assert(services.has(service));
});

test("what is enrolled is listed, by the one who wrote it, at once", async () => {
  await admin.control.createCredential({ name: "bmc", username: "u", password: "p" });
  const bmc = { address: "https://127.0.0.1:9", credential: "bmc", insecure: true };
  const { machine } = await admin.control.enrollMachine({ name: "Node 1", bmc });
  const found = [];
  for await (const one of admin.control.listAllMachines({})) found.push(one.uuid);
  assert(found.includes(machine.uuid));
  assert.equal(await admin.names.resolve("machine", "node-1"), machine.uuid);
  assert.equal((await admin.names.describe([machine.uuid])).get(machine.uuid).name, "Node 1");
});

test("a tenant claims what an operator provides", async () => {
  const inventories = [{ resourceClass: "custom.slots", total: 2n }];
  await admin.resource.createProvider({ name: "host-1", type: "compute", inventories });
  const request = { groups: [{ resources: { "custom.slots": 1n }, count: 1 }] };
  const { claim, position } = await tenant.resource.makeClaim({ name: "mine", request });
  assert.equal((await tenant.resource.getClaim({ claim: claim.uuid })).claim.name, "mine");
  const before = tenant.at(String(position.seq - 1n));
  await assert.rejects(before.resource.getClaim({ claim: claim.uuid }), NotFound);
  await tenant.resource.releaseClaim({ claim: claim.uuid });
});

test("the same request id gives the same answer and does nothing twice", async () => {
  const request = { name: "twice", requestId: newId() };
  const first = await admin.resource.createGroup(request);
  const again = await admin.resource.createGroup(request);
  assert.equal(again.group.uuid, first.group.uuid);
  const groups = [];
  for await (const one of admin.resource.listAllGroups({})) groups.push(one.name);
  assert.equal(groups.filter((name) => name === "twice").length, 1);
});

test("what a role does not allow is refused with a typed error", async () => {
  await assert.rejects(tenant.iam.createProject({ name: "more" }), PermissionDenied);
});

test("a wrong secret and a stranger's certificate are said to be so", async () => {
  const guest = Client.fromEnvironment({ secret: "wrong" });
  await assert.rejects(guest.iam.whoAmI({}), Unauthenticated);
  guest.close();
  const stranger = Client.fromEnvironment({ ca: process.env.WRONG_CA });
  await assert.rejects(stranger.iam.whoAmI({}), Untrusted);
  stranger.close();
});

test("a watch goes on over the death of the log service, and commands over that of theirs", async () => {
  const wanted = ["seen-0", "seen-1", "seen-2"];
  const { position } = await admin.resource.createGroup({ name: wanted[0] });
  const seen = [];
  const watch = (async () => {
    const request = { after: position.seq - 1n, filter: { type: "group.created" } };
    for await (const record of admin.log.watchLog(request)) {
      const created = record.events.filter((event) => event.type === "group.created");
      for (const event of created) seen.push(JSON.parse(event.data).name);
      if (seen.length >= wanted.length) break;
    }
  })();
  kill("log");
  await admin.resource.createGroup({ name: wanted[1] });
  kill("resource");
  await admin.resource.createGroup({ name: wanted[2] });
  await watch;
  assert.deepEqual(seen, wanted);
});
