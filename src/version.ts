// The output of `--version`. The build defines the commit; from source it is unknown.

import packageJson from '../package.json' with { type: 'json' }

declare const POSTERN_COMMIT: string | undefined

const commit = typeof POSTERN_COMMIT === 'string' ? POSTERN_COMMIT : 'from source'

export const version = `postern ${packageJson.version} (${commit}, bun ${Bun.version})`

/** The user agent of every request from this program: some servers reject requests without one. */
export const userAgent = `postern/${packageJson.version}`
