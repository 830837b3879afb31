// Node-RED for `anju bench ingest --peer anju/bench/node_red`: no editor, the flow beside this file, PostgreSQL (by PGHOST and its like) at hand in functions.
const pg = require("pg");

module.exports = {
  uiPort: Number(process.env.BENCH_UI_PORT),
  uiHost: "127.0.0.1",
  httpAdminRoot: false,
  flowFile: __dirname + "/flows.json",
  credentialSecret: false,
  functionGlobalContext: { pool: new pg.Pool({ max: 4 }) },
  logging: { console: { level: "warn" } },
};
