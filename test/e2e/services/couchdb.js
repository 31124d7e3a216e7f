// The CouchDB API over documents in memory: node couchdb.js DIRECTORY PORT LOG. node_modules of the directory has the packages.
const modules = require('module').createRequire(process.argv[2] + '/');
const PouchDB = modules('pouchdb');
PouchDB.plugin(modules('pouchdb-adapter-memory'));
const service = modules('express-pouchdb')(PouchDB.defaults({ adapter: 'memory' }), { inMemoryConfig: true, logPath: process.argv[4] });
modules('express')().use('/', service).listen(Number(process.argv[3]), '127.0.0.1');
