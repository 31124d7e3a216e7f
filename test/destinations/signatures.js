// Signatures by libraries of others. Reads {"webhooks": [{"secret", "now", "headers", "body"}], "aws": [{"method", "url", "headers",
// "body", "region", "service", "access_key_id", "secret_access_key"}]}; prints {"webhooks": [null or what is wrong], "aws": [Authorization]}.
'use strict';
const fs = require('fs'), path = require('path'), { createRequire } = require('module');
const need = createRequire(path.join(process.env.NODE_MODULES_OF, 'x.js'));
const { Webhook } = need('standardwebhooks'), aws4 = need('aws4');
const input = JSON.parse(fs.readFileSync(0, 'utf8'));

const webhooks = (input.webhooks || []).map((webhook) => {
	Date.now = () => webhook.now * 1000;
	try {
		new Webhook(webhook.secret).verify(webhook.body, Object.fromEntries(webhook.headers));
		return null;
	} catch (error) {
		return error.message;
	}
});
const aws = (input.aws || []).map((request) => {
	const url = new URL(request.url), signed = { ...request, host: url.host, doNotModifyHeaders: true };
	signed.path = request.url.slice(request.url.indexOf(url.host) + url.host.length);
	signed.headers = Object.fromEntries(request.headers.filter(([name]) => name.toLowerCase() !== 'authorization'));
	const signer = new aws4.RequestSigner(signed, { accessKeyId: request.access_key_id, secretAccessKey: request.secret_access_key });
	signer.datetime = request.headers.find(([name]) => name.toLowerCase() === 'x-amz-date')[1];
	return signer.sign().headers.Authorization;
});
process.stdout.write(JSON.stringify({ webhooks, aws }));
