// Calls of @alicloud/pop-core, one a line: {action, method, parameters} in, {body} or {error} out.
'use strict';
const readline = require('readline');
const { RPCClient } = require('@alicloud/pop-core');

let client = null;

async function answer(line) {
  const message = JSON.parse(line);
  if (client === null) {
    client = new RPCClient({
      accessKeyId: message.AccessKeyId,
      accessKeySecret: message.AccessKeySecret,
      endpoint: message.Endpoint.replace(/\/$/, ''),
      apiVersion: '2017-09-08',
    });
    return { body: {} };
  }
  try {
    const options = { method: message.method, timeout: 30000 };
    return { body: await client.request(message.action, message.parameters, options) };
  } catch (error) {
    const status = error.entry && error.entry.response ? error.entry.response.statusCode : null;
    return { error: { code: error.code || error.name, status, message: error.message } };
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await answer(line)) + '\n');
  }
}

main();
