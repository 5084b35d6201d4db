// What Node programs do with a Vault, through two clients from npm: each step
// prints one line, without ids and times, so that the lines of two servers can be
// compared. VAULT_ADDR and VAULT_TOKEN, of root, say which server.
//
//   node steps.mjs          with a server that is unsealed
//   node steps.mjs init     with one that is not set up
import HashiVault from 'hashi-vault-js';
import nodeVault from 'node-vault';

const endpoint = process.env.VAULT_ADDR;
const token = process.env.VAULT_TOKEN;
const mount = 'nodejs';

// sorted is a value whose objects have their names in order.
function sorted(v) {
  if (Array.isArray(v)) return v.map(sorted);
  if (v === null || typeof v !== 'object') return v;
  return Object.fromEntries(Object.keys(v).sort().map((k) => [k, sorted(v[k])]));
}

const say = (line) => process.stdout.write(`${line}\n`);

// step prints what pick makes of an answer, or the error as a program sees it.
async function step(name, ask, pick = () => []) {
  try {
    const answer = await ask();
    say(`${name}: ${JSON.stringify(sorted(pick(answer)))}`);
    return answer;
  } catch (err) {
    const status = err.response?.statusCode ?? err.response?.status ?? '';
    say(`${name}: error ${status} ${JSON.stringify(err.response?.body?.errors ?? err.message)}`);
    return undefined;
  }
}

async function initialise() {
  const vault = nodeVault({ endpoint });
  await step('initialized', () => vault.initialized(), (a) => [a.initialized]);
  await step('status before', () => vault.status(), (a) => [a.initialized, a.sealed]);
  const keys = await step('init', () => vault.init({ secret_shares: 3, secret_threshold: 2 }),
    (a) => [a.keys.length, a.keys_base64.length, a.root_token !== '']);
  await step('init again', () => vault.init({ secret_shares: 1, secret_threshold: 1 }));
  await step('read while sealed', () => nodeVault({ endpoint, token: keys.root_token }).read('sys/mounts'));
  await step('unseal 1', () => vault.unseal({ key: keys.keys[0] }), (a) => [a.sealed, a.progress, a.t, a.n]);
  await step('unseal reset', () => vault.unseal({ reset: true }), (a) => [a.sealed, a.progress]);
  await step('unseal 1 again', () => vault.unseal({ key: keys.keys[0] }), (a) => [a.sealed, a.progress]);
  await step('unseal 2', () => vault.unseal({ key: keys.keys[2] }), (a) => [a.sealed, a.progress, a.cluster_name !== '']);
  vault.token = keys.root_token;
  await step('mounts', () => vault.mounts(), (a) => [a['sys/'].type, a['cubbyhole/'].type]);
  await step('seal', () => vault.seal());
  await step('status after', () => vault.status(), (a) => [a.initialized, a.sealed]);
}

// settled waits for a mount that is being moved: a Vault answers before it is there.
async function settled(vault, path) {
  for (let i = 0; i < 100; i++) {
    if ((await vault.mounts())[path]) return;
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

async function system(vault) {
  await step('status', () => vault.status(), (a) => [a.type, a.initialized, a.sealed, a.t, a.n]);
  await step('initialized', () => vault.initialized(), (a) => [a.initialized]);
  await step('health', () => vault.health(), (a) => [a.initialized, a.sealed, a.standby]);
  await step('leader', () => vault.leader(), (a) => [a.ha_enabled]);
  await step('mount', () => vault.mount({ mount_point: mount, type: 'kv', options: { version: 2 }, description: 'of the test' }));
  await step('mount again', () => vault.mount({ mount_point: mount, type: 'kv-v2' }));
  await step('mounts', () => vault.mounts(), (a) => [a[`${mount}/`].type, a[`${mount}/`].options, a.data[`${mount}/`].description]);
  await step('auths', () => vault.auths(), (a) => [a['token/'].type]);
  await step('audits', () => vault.audits(), (a) => [typeof a.data]);
  await step('remount', () => vault.remount({ from: mount, to: 'nodejs2' }));
  await settled(vault, 'nodejs2/');
  await step('remount back', () => vault.remount({ from: 'nodejs2', to: mount }));
  await settled(vault, `${mount}/`);
}

const version = (a) => [a.data.data, a.data.metadata?.version, a.data.version, a.data.metadata?.destroyed];

async function values(vault) {
  await step('write', () => vault.write(`${mount}/data/app/db`, { data: { user: 'alice', n: 1.5, list: [1, 'b', null] } }), version);
  await step('write with cas', () => vault.write(`${mount}/data/app/db`, { options: { cas: 1 }, data: { user: 'bob' } }), version);
  await step('write with an old cas', () => vault.write(`${mount}/data/app/db`, { options: { cas: 1 }, data: { user: 'eve' } }));
  await step('read', () => vault.read(`${mount}/data/app/db`), version);
  await step('read version 1', () => vault.read(`${mount}/data/app/db?version=1`), version);
  await step('update', () => vault.update(`${mount}/data/app/db`, { data: { user: 'carol' } }), version);
  await step('read nothing', () => vault.read(`${mount}/data/nothing`));
  await step('list', () => vault.list(`${mount}/metadata/`), (a) => a.data.keys);
  await step('list app', () => vault.list(`${mount}/metadata/app`), (a) => a.data.keys);
  await step('list nothing', () => vault.list(`${mount}/metadata/nothing`));
  await step('metadata', () => vault.read(`${mount}/metadata/app/db`), (a) => [a.data.current_version, Object.keys(a.data.versions)]);
  await step('write metadata', () => vault.write(`${mount}/metadata/app/db`, { max_versions: 5, custom_metadata: { owner: 'core' } }));
  await step('delete', () => vault.delete(`${mount}/data/app/db`));
  await step('read deleted', () => vault.read(`${mount}/data/app/db`));
  await step('undelete', () => vault.write(`${mount}/undelete/app/db`, { versions: [3] }));
  await step('destroy', () => vault.destroySecretVersions({ mount_point: mount, path: 'app/db', versions: [1] }));
  await step('read destroyed', () => vault.read(`${mount}/data/app/db?version=1`));
  await step('remove', () => vault.delete(`${mount}/metadata/app/db`));
  await step('read removed', () => vault.read(`${mount}/data/app/db`));
  await step('é and spaces', () => vault.write(`${mount}/data/a b/é`, { data: { k: 'ü' } }), version);
  await step('é and spaces back', () => vault.read(`${mount}/data/a b/é`), version);
  await step('cubbyhole', () => vault.write('cubbyhole/x', { k: 'v' }));
  await step('cubbyhole back', () => vault.read('cubbyhole/x'), (a) => a.data);
  await step('cubbyhole list', () => vault.list('cubbyhole/'), (a) => a.data.keys);
  await step('cubbyhole delete', () => vault.delete('cubbyhole/x'));
}

async function rights() {
  const root = () => nodeVault({ endpoint, token }); // a client takes each token that it makes or renews for its own
  const rules = `path "${mount}/data/app/*" { capabilities = ["read"] }`;
  await step('add policy', () => root().addPolicy({ name: 'nodejs', rules }));
  await step('add policy, as it is called now', () => root().write('sys/policies/acl/nodejs', { policy: rules }));
  await step('policies', () => root().policies(), (a) => [a.policies.includes('nodejs'), a.keys.includes('nodejs')]);
  await step('get policy', () => root().getPolicy({ name: 'nodejs' }), (a) => [a.name, a.rules === rules]);
  await step('get no policy', () => root().getPolicy({ name: 'nothing' }));
  const made = await step('create token', () => root().tokenCreate({ policies: ['nodejs'], ttl: '1h', renewable: true, display_name: 'ci' }),
    (a) => [a.auth.policies, a.auth.lease_duration, a.auth.renewable, a.auth.metadata]);
  const limited = nodeVault({ endpoint, token: made.auth.client_token });
  await root().write(`${mount}/data/app/db`, { data: { k: 'v' } });
  await step('read what it may', () => limited.read(`${mount}/data/app/db`), version);
  await step('write what it may not', () => limited.write(`${mount}/data/app/db`, { data: {} }));
  await step('list what it may not', () => limited.list(`${mount}/metadata/`));
  await step('look up self', () => limited.tokenLookupSelf(), (a) => [a.data.policies, a.data.display_name, a.data.ttl > 3500, a.data.type]);
  await step('renew self', () => limited.tokenRenewSelf({ increment: 1800 }), (a) => [a.auth.lease_duration]);
  await step('renew', () => root().tokenRenew({ token: made.auth.client_token, increment: 900 }), (a) => [a.auth.lease_duration]);
  await step('look up', () => root().tokenLookup({ token: made.auth.client_token }), (a) => [a.data.id === made.auth.client_token]);
  await step('look up by accessor', () => root().tokenLookupAccessor({ accessor: made.auth.accessor }), (a) => [a.data.id]);
  await step('accessors', () => root().tokenAccessors(), (a) => [a.data.keys.includes(made.auth.accessor)]);
  await step('kept alive', () => new Promise((resolve, reject) => {
    const awake = setTimeout(reject, 60_000, new Error('nothing happened')); // the client's own timer keeps nothing running
    root().tokenCreate({ policies: ['nodejs'], ttl: '3s' }).then((short) => {
      const alive = nodeVault({ endpoint, token: short.auth.client_token });
      alive.once('token:renewed', (a) => { clearTimeout(awake); alive.stopTokenRenewal(); resolve(a); });
      alive.once('token:error:renew', reject);
      alive.startTokenRenewal({ renewFraction: 0.5 });
    }, reject);
  }), (a) => [a.auth.lease_duration]);
  const wrapped = await step('wrap', () => root().read(`${mount}/data/app/db`, { headers: { 'X-Vault-Wrap-TTL': '60s' } }), (a) => [a.data, a.wrap_info.ttl]);
  await step('unwrap', () => nodeVault({ endpoint, token: wrapped.wrap_info.token }).unwrap(), version);
  await step('unwrap again', () => nodeVault({ endpoint, token }).unwrap({ token: wrapped.wrap_info.token }));
  await step('role', () => root().addTokenRole({ role_name: 'nodejs', allowed_policies: 'nodejs' }));
  await step('roles', () => root().tokenRoles(), (a) => a.data.keys);
  await step('get role', () => root().getTokenRole({ role_name: 'nodejs' }), (a) => [a.data.name, a.data.allowed_policies]);
  await step('create with role', () => root().tokenCreateRole({ role_name: 'nodejs' }), (a) => [a.auth.policies]);
  await step('remove role', () => root().removeTokenRole({ role_name: 'nodejs' }));
  await step('revoke by accessor', () => root().tokenRevokeAccessor({ accessor: made.auth.accessor }));
  await step('remove policy', () => root().removePolicy({ name: 'nodejs' }));
}

async function hashiVaultJS() {
  console.error = () => {}; // it prints whole answers
  console.log = () => {};
  const vault = new HashiVault({ https: false, baseUrl: `${endpoint}/v1`, rootPath: mount, timeout: 10000 });
  const at = (a) => [a.data, a.version, a.metadata?.version, a.keys, a.status, a.isVaultError, a.message];
  await step('hashi-vault-js: health', () => vault.healthCheck(), (a) => [a.initialized, a.sealed]);
  await step('hashi-vault-js: configure', () => vault.updateKVEngineConfig(token, { max_versions: 8, cas_required: false, delete_version_after: '3h' }, mount), at);
  await step('hashi-vault-js: configuration', () => vault.readKVEngineConfig(token, mount), (a) => a);
  await step('hashi-vault-js: create', () => vault.createKVSecret(token, 'svc/api', { key: 'one' }, mount), at);
  await step('hashi-vault-js: update', () => vault.updateKVSecret(token, 'svc/api', { key: 'two' }, 1, mount), at);
  await step('hashi-vault-js: update an old one', () => vault.updateKVSecret(token, 'svc/api', { key: 'three' }, 1, mount), at);
  await step('hashi-vault-js: read', () => vault.readKVSecret(token, 'svc/api', undefined, mount), at);
  await step('hashi-vault-js: read nothing', () => vault.readKVSecret(token, 'svc/nothing', undefined, mount), at);
  await step('hashi-vault-js: list', () => vault.listKVSecrets(token, 'svc', mount), at);
  await step('hashi-vault-js: delete', () => vault.deleteLatestVerKVSecret(token, 'svc/api', mount), at);
  await step('hashi-vault-js: undelete', () => vault.undeleteVersionsKVSecret(token, 'svc/api', [2], mount), at);
  await step('hashi-vault-js: destroy', () => vault.destroyVersionsKVSecret(token, 'svc/api', [1], mount), at);
  await step('hashi-vault-js: metadata', () => vault.readKVSecretMeta(token, 'svc/api', mount), (a) => [a.current_version, a.versions?.['1']?.destroyed]);
  await step('hashi-vault-js: eliminate', () => vault.eliminateKVSecret(token, 'svc/api', mount), at);
  const made = await step('hashi-vault-js: token', () => vault.createToken(token, { policies: ['default'], ttl: '1h', renewable: true }), (a) => [a.policies, a.lease_duration]);
  await step('hashi-vault-js: look up', () => vault.lookupSelfToken(made.client_token), (a) => [a.policies, a.ttl > 3500]);
  await step('hashi-vault-js: renew', () => vault.renewSelfToken(made.client_token, '30m'), (a) => [a.lease_duration]);
  await step('hashi-vault-js: revoke', () => vault.revokeSelfToken(made.client_token), at);
}

if (process.argv[2] === 'init') {
  await initialise();
} else {
  const vault = nodeVault({ endpoint, token });
  await system(vault);
  await values(vault);
  await rights();
  await hashiVaultJS();
  await step('unmount', () => vault.unmount({ mount_point: mount }));
  await step('after unmounting', () => vault.read(`${mount}/data/app/db`));
}
