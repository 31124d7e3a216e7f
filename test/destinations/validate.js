// Judges requests by what vendors publish. Reads {"specs": directory, "definitions": {name: definition}, "schema": file,
// "requests": [{"id", "specs": [...], "method", "url", "headers", "body"}]} and prints {"definitions": {name: [problem]},
// "requests": {id: [problem]}}.
//
// A spec of a request is one of
//   {"openapi": FILE}                                 an OpenAPI 3 document: path, parameters, body, authentication;
//                                                     with "bodies": {TYPE: FILE#/...}, bodies of that content type by a schema
//   {"on": "POST /v0/*/*", "schema": FILE#/$defs/x}   a JSON schema for the body of such requests, or several
//   {"on": "DELETE /v0/*/*", "unpublished": WHY}      nothing is published for these; with "only": {"query": [...], "headers": [...]}, no
//                                                     other parameters, all of these headers, and no body
// The first that knows the request judges it. FILE is relative to `specs`, or with ./ to this folder.
'use strict';
const fs = require('fs'), path = require('path'), { createRequire } = require('module');
const need = createRequire(path.join(process.env.NODE_MODULES_OF, 'x.js'));
const Ajv = need('ajv/dist/2020').default, Ajv7 = need('ajv').default, addFormats = need('ajv-formats').default;

const input = JSON.parse(fs.readFileSync(0, 'utf8'));
const files = new Map();
const load = (file) => {
	if (!files.has(file)) {
		const base = file.startsWith('./') ? __dirname : input.specs;
		files.set(file, JSON.parse(fs.readFileSync(path.join(base, file), 'utf8')));
	}
	return files.get(file);
};
const make = (Kind) => addFormats(new Kind({ strict: false, allErrors: true, unicodeRegExp: false, logger: false }));
const say = (errors, where) => (errors || []).map((e) =>
	`${where}${e.instancePath} ${e.message}${e.params?.additionalProperty ? ` (${e.params.additionalProperty})` : ''}`);

// OpenAPI 3.0 writes some things differently from JSON schema.
function plainSchema(value, inMap = false) {
	if (Array.isArray(value)) return value.map((v) => plainSchema(v));
	if (value === null || typeof value !== 'object') return value;
	const out = {};
	for (const [key, inner] of Object.entries(value)) {
		if (inMap) out[key] = plainSchema(inner);
		else if (key === '$ref') out[key] = inner.replace(/^#\//, 'doc#/');
		else if (['enum', 'const', 'default', 'required'].includes(key)) out[key] = inner;
		else if (['properties', 'patternProperties', '$defs'].includes(key)) out[key] = plainSchema(inner, true);
		else if (!['example', 'examples', 'discriminator', 'xml', 'externalDocs', 'nullable'].includes(key) && !key.startsWith('x-'))
			out[key] = plainSchema(inner);
	}
	if (inMap) return out;
	for (const bound of ['Minimum', 'Maximum']) {
		const key = 'exclusive' + bound;
		if (out[key] === true) { out[key] = out[bound.toLowerCase()]; delete out[bound.toLowerCase()]; }
		else if (out[key] === false) delete out[key];
	}
	return value.nullable === true ? { anyOf: [out, { type: 'null' }] } : out;
}

function bodyOf(request) {
	const type = (request.headers['content-type'] || '').split(';')[0].trim().toLowerCase();
	if (!request.body) return { type, empty: true };
	if (type.includes('ndjson')) return { type, value: request.body.split('\n').filter((l) => l).map((l) => JSON.parse(l)) };
	if (type.includes('json')) return { type, value: JSON.parse(request.body) };
	if (type === 'application/x-www-form-urlencoded') return { type, value: Object.fromEntries(new URLSearchParams(request.body)) };
	return { type, value: request.body };
}

class OpenApi {
	constructor(doc) {
		this.doc = doc;
		this.ajv = make(Ajv);
		this.ajv.addSchema({ $id: 'doc', components: { schemas: plainSchema(doc.components?.schemas || {}, true) } });
		const bases = (doc.servers || []).map((s) => s.url.replace(/^https?:\/\/[^/]*/, '').replace(/\/$/, ''));
		this.bases = [...new Set([...bases, ''])];
		this.routes = Object.keys(doc.paths).map((template) => ({
			template,
			names: [...template.matchAll(/\{([^}]+)\}/g)].map((m) => m[1]),
			pattern: new RegExp('^' + template.split(/\{[^}]+\}/).map((t) => t.replace(/[.*+?^$|()[\]\\]/g, '\\$&')).join('([^/]+)') + '$'),
		})).sort((a, b) => a.names.length - b.names.length);
	}
	follow(value) {
		while (value && value.$ref)
			value = value.$ref.slice(2).split('/').reduce((at, key) => at?.[key.replace(/~1/g, '/').replace(/~0/g, '~')], this.doc);
		return value;
	}
	find(method, pathname) {
		for (const base of this.bases)
			for (const route of pathname.startsWith(base) ? this.routes : []) {
				const match = route.pattern.exec(pathname.slice(base.length));
				const item = match && this.doc.paths[route.template], operation = item?.[method.toLowerCase()];
				if (operation) return { route, item, operation, values: match.slice(1).map(decodeURIComponent) };
			}
		return null;
	}
	judge(request, bodies = {}) {
		const url = new URL(request.url), found = this.find(request.method, url.pathname);
		if (!found) return null;
		const problems = [], { operation, item, route, values } = found;
		const parameters = [...(item.parameters || []), ...(operation.parameters || [])].map((p) => this.follow(p));
		const known = new Set(parameters.filter((p) => p.in === 'query').map((p) => p.name.replace(/\[\]$/, '')));
		for (const name of url.searchParams.keys())
			if (!known.has(name.replace(/\[\]$/, ''))) problems.push(`query ${name} is not a parameter of ${request.method} ${route.template}`);
		for (const parameter of parameters) {
			const all = parameter.in === 'path' ? [values[route.names.indexOf(parameter.name)]]
				: parameter.in === 'query' ? url.searchParams.getAll(parameter.name)
				: parameter.in === 'header' ? [request.headers[parameter.name.toLowerCase()]].filter((v) => v !== undefined) : null;
			if (!all) continue;
			const where = `${parameter.in} ${parameter.name}`;
			if (!all.length) { if (parameter.required) problems.push(`${where} is required`); continue; }
			const schema = this.follow(parameter.schema) || {}, types = [].concat(schema.type || []);
			const read = (text) => types.some((t) => t === 'integer' || t === 'number') && text !== '' && !isNaN(text) ? Number(text)
				: types.includes('boolean') && /^(true|false)$/.test(text) ? text === 'true' : text;
			const value = types.includes('array') ? (all.length > 1 ? all : all[0].split(',')) : read(all[0]);
			const check = this.ajv.compile(plainSchema(parameter.schema || {}));
			if (!check(value)) problems.push(...say(check.errors, where));
		}
		const expected = this.follow(operation.requestBody), body = bodyOf(request);
		if (expected?.content && bodies[body.type]) {
			const check = bySchema(bodies[body.type]);
			if (!check(body.value)) problems.push(...say(check.errors, 'body'));
		} else if (expected?.content && body.empty) { if (expected.required) problems.push('body is required'); }
		else if (expected?.content) {
			const types = Object.keys(expected.content), type = types.find((t) => t.toLowerCase() === body.type) || types.find((t) => t === '*/*');
			if (!type) problems.push(`content type ${body.type} is not one of ${types.join(', ')}`);
			else if (expected.content[type].schema) {
				const check = this.ajv.compile(plainSchema(expected.content[type].schema));
				if (!check(body.value)) problems.push(...say(check.errors, 'body'));
			}
		} else if (!body.empty) problems.push(`${request.method} ${route.template} has no body`);
		const schemes = this.doc.components?.securitySchemes || {}, wanted = operation.security || this.doc.security;
		const given = (name) => {
			const scheme = this.follow(schemes[name]);
			if (!scheme) return true;
			if (scheme.type === 'apiKey')
				return scheme.in === 'header' ? request.headers[scheme.name.toLowerCase()] !== undefined : scheme.in !== 'query' || url.searchParams.has(scheme.name);
			return new RegExp('^' + (scheme.type === 'http' ? scheme.scheme : 'bearer') + ' ', 'i').test(request.headers.authorization || '');
		};
		if (wanted?.length && !wanted.some((one) => Object.keys(one).every(given))) problems.push(`no authentication of ${JSON.stringify(wanted)}`);
		return problems;
	}
}

const apis = new Map(), schemas = new Map();
function bySchema(reference) {
	if (!schemas.has(reference)) {
		const [file, pointer] = reference.split('#'), document = load(file);
		const ajv = make(/draft-0[67]/.test(document.$schema || '') ? Ajv7 : Ajv);
		ajv.addSchema({ ...document, $schema: undefined, $id: 'doc' });
		schemas.set(reference, ajv.compile({ $ref: 'doc#' + (pointer || '') }));
	}
	return schemas.get(reference);
}
const glob = (pattern) => new RegExp('^' + pattern.split('*').map((t) => t.replace(/[.+?^$|()[\]\\{}]/g, '\\$&')).join('[^/]*') + '$');

function judge(request) {
	request.headers = Object.fromEntries(request.headers.map(([name, value]) => [name.toLowerCase(), value]));
	const line = `${request.method} ${new URL(request.url).pathname}`;
	for (const spec of request.specs) {
		if (spec.openapi) {
			if (!apis.has(spec.openapi)) apis.set(spec.openapi, new OpenApi(load(spec.openapi)));
			const problems = apis.get(spec.openapi).judge(request, spec.bodies);
			if (problems) return problems;
		} else if (glob(spec.on).test(line)) {
			if (spec.unpublished) return only(spec.only, request);
			const body = bodyOf(request).value;
			return [].concat(spec.schema).flatMap((reference) => {
				const check = bySchema(reference);
				return check(body) ? [] : say(check.errors, 'body');
			});
		}
	}
	return [`no published operation ${line}`];
}

// For what nobody publishes: the parameters and headers that it has, and no body.
function only(allowed, request) {
	if (!allowed) return [];
	const problems = [...new URL(request.url).searchParams.keys()].filter((name) => !(allowed.query || []).includes(name)).map((name) => `query ${name} is not a parameter`);
	for (const name of allowed.headers || []) if (request.headers[name] === undefined) problems.push(`header ${name} is required`);
	return request.body ? [...problems, 'it has no body'] : problems;
}

const out = { definitions: {}, requests: {} };
if (input.schema) {
	const ajv = make(Ajv), check = ajv.compile(JSON.parse(fs.readFileSync(input.schema, 'utf8')));
	for (const [name, definition] of Object.entries(input.definitions)) out.definitions[name] = check(definition) ? [] : say(check.errors, '');
}
for (const request of input.requests) {
	try {
		out.requests[request.id] = judge(request);
	} catch (error) {
		out.requests[request.id] = [`cannot be judged: ${error.message}`];
	}
}
process.stdout.write(JSON.stringify(out));
