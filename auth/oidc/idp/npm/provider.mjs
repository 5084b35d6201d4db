// oidc-provider for tests: node provider.mjs < lines of JSON. The first line is
// {issuer, users, clients, idTokenTTL}; it answers {"port": N}. Each later line is
// {users} or {rotate: true}; it answers {}. It ends when its input does.
import { createInterface } from 'node:readline';
import { createServer } from 'node:http';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import Provider from 'oidc-provider';

let settings;
let handle;
const cookieKeys = [randomBytes(24).toString('hex')];

// What was issued, for as long as the process lives.
const rows = new Map();

class Store {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  where(test) { for (const [key, row] of rows) if (key.startsWith(`${this.model}:`) && test(row)) return row; }
  async upsert(id, row) { rows.set(this.key(id), row); }
  async find(id) { return rows.get(this.key(id)); }
  async findByUid(uid) { return this.where((row) => row.uid === uid); }
  async findByUserCode(code) { return this.where((row) => row.userCode === code); }
  async consume(id) { rows.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { rows.delete(this.key(id)); }
  async revokeByGrantId(grant) { for (const [key, row] of rows) if (row.grantId === grant) rows.delete(key); }
}

// A provider has its keys for life: a new one over the same store is a restart with
// other keys.
function start() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: randomBytes(8).toString('hex') };
  const provider = new Provider(settings.issuer, {
    adapter: Store,
    clients: settings.clients,
    jwks: { keys: [key] },
    cookies: { keys: cookieKeys },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
    conformIdTokenClaims: false, // or claims of scopes reach the userinfo endpoint only
    features: {
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      devInteractions: { enabled: true },
    },
    findAccount: (ctx, id) => {
      const user = settings.users[id];
      return user && { accountId: id, claims: () => ({ sub: id, name: user.name, email: user.email, email_verified: true, groups: user.groups }) };
    },
    issueRefreshToken: (ctx, client, code) => client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
    ttl: { AccessToken: 60, IdToken: settings.idTokenTTL, RefreshToken: 600, AuthorizationCode: 60, DeviceCode: 300, Grant: 600, Interaction: 300, Session: 600 },
  });
  handle = provider.callback();
}

const reply = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
const lines = createInterface({ input: process.stdin });
lines.on('close', () => process.exit(0));
lines.on('line', (line) => {
  const said = JSON.parse(line);
  if (!settings) {
    settings = said;
    start();
    const server = createServer((req, res) => handle(req, res));
    server.listen(0, '127.0.0.1', () => reply({ port: server.address().port }));
    return;
  }
  if (said.users) settings.users = said.users;
  if (said.rotate) start();
  reply({});
});
