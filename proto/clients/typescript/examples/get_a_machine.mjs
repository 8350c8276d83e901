// Claim a machine for an hour, boot an image on it, and give it back: get_a_machine.mjs IMAGE
import { Client, v1 } from "mulligan-client";

const client = Client.fromEnvironment();
const window = { duration: { seconds: 3600n } };
const request = { groups: [{ resources: { machine: 1n } }], window };
const { claim } = await client.resource.makeClaim({ request });
const begun = await client.control.deployMachine({ claim: claim.uuid, image: process.argv[2] });
const machine = await client.waitFor(begun.machine.uuid, [v1.MachineState.ACTIVE]);
console.log(`${machine.name} runs ${process.argv[2]}`);
await client.control.releaseMachine({ machine: machine.uuid });
client.close();
