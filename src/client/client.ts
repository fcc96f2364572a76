// `postern/client`: an app's way to a gate, without ever holding the provider's key. No dependency;
// Electron's main process, Node 20 and later, Bun. It enrols on the first run, keeps the token in a
// file of this user's, renews it, and says how things stand; what to do when they stand badly is
// the app's to decide. Nothing is thrown but for a `baseUrl` that no token may be sent to.

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
 * Resolves after the first look: `status` says how it went. A gate that is down is no error, it is
 * looked for again in the background.
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const client = session(options)
  await client.start()
  return client
}
