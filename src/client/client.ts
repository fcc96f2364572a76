// `postern/client`: connects an app to a gate, without the app ever holding the provider's key. No
// dependencies; for Electron's main process, Node 20 and later, and Bun. It enrols on the first run,
// keeps the token in a file of this user, renews it, and reports the status; what to do about a bad
// status is the app's decision. Nothing throws, except for a `baseUrl` that no token may be sent to.

import type { Client, ConnectOptions } from './api.ts'
import { session } from './session.ts'

export type {
  Client,
  ConnectOptions,
  Enrollment,
  Environment,
  Problem,
  Result,
  Status,
  Storage,
} from './api.ts'
export { dataFolder, fileStorage, memoryStorage } from './storage.ts'

/**
 * Resolves after the first check: `status` says how it went. A gate that is down is no error; the
 * background work tries again.
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const client = session(options)
  await client.start()
  return client
}
