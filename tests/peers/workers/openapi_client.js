// Calls of @alicloud/openapi-client, one a line: {action, query, body} in, {body} or {error} out.
'use strict';
const readline = require('readline');
const OpenApi = require('@alicloud/openapi-client');
const OpenApiUtil = require('@alicloud/openapi-util').default;
const { RuntimeOptions } = require('@alicloud/tea-util');

let client = null;
let protocol = null;

async function answer(line) {
  const message = JSON.parse(line);
  if (client === null) {
    protocol = message.Endpoint.split(':')[0];
    client = new OpenApi.default(new OpenApi.Config({
      accessKeyId: message.AccessKeyId,
      accessKeySecret: message.AccessKeySecret,
      endpoint: message.Endpoint.replace(/^https?:\/\//, '').replace(/\/$/, ''),
      protocol,
    }));
    return { body: {} };
  }
  const parameters = new OpenApi.Params({
    action: message.action, version: '2017-09-08', protocol: protocol.toUpperCase(), method: 'POST', authType: 'AK', style: 'RPC',
    pathname: '/', reqBodyType: 'formData', bodyType: 'json',
  });
  // As the generated clients do it: the query is flattened by the SDK's own function, the body by callApi.
  const request = { query: OpenApiUtil.query(message.query) };
  if (Object.keys(message.body).length > 0) {
    request.body = message.body;
  }
  try {
    const result = await client.callApi(parameters, new OpenApi.OpenApiRequest(request), new RuntimeOptions({}));
    return { body: result.body };
  } catch (error) {
    const status = error.data ? error.data.statusCode : null;
    return { error: { code: error.code, status: status || null, message: error.message } };
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await answer(line)) + '\n');
  }
}

main();
