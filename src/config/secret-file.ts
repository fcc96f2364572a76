// A secret out of a file, as container platforms mount them. What others on the machine can read is no
// secret and is refused, but for development mode. The content is never in a mistake, and the path only
// where it is the one of a file: what was put there by a slip may be the secret itself.

import { readFileSync, statSync } from 'node:fs'
import type { NotRead, Read } from './kinds.ts'

const MAX_SECRET_FILE_BYTES = 65_536

/** Trimmed: editors and `echo` end a file with a line break. */
export function readSecretFile(path: string, devMode: boolean): Read<string> {
  try {
    const about = statSync(path)
    if (!about.isFile() || about.size > MAX_SECRET_FILE_BYTES) {
      return wrong('names no file of a size that a secret has', 'check the path')
    }
    // On Windows the mode bits say nothing about who may read.
    if (!devMode && process.platform !== 'win32' && (about.mode & 0o004) !== 0) {
      return wrong(
        'names a file that everybody on this machine can read',
        `${closing(path, about)}; in Kubernetes set defaultMode: 0440`,
      )
    }
    const value = readFileSync(path, 'utf8').trim()
    return value === ''
      ? wrong('names a file that is empty', 'write the secret into it')
      : { ok: true, value }
  } catch (error) {
    return unreadable((error as { code?: unknown }).code)
  }
}

function unreadable(code: unknown): NotRead {
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return wrong('names a file that is not there', 'check the path, and that it is mounted')
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return wrong(
      'names a file that the user of this process may not read',
      `chown it to uid ${process.getuid?.()}, or chgrp it to a group of that user and chmod 640 it`,
    )
  }
  return wrong('names a file that cannot be read', 'check path and permissions')
}

/** What a shell does with it. Who owns it alone may close it to all others; a group may be ours. */
export function closing(path: string, { uid }: { readonly uid: number }): string {
  const mode = uid === process.getuid?.() ? '600' : 'o-r'
  // A terminal shall not obey a path.
  if (/[^ -~]|'/.test(path)) return `chmod ${mode} it`
  return `chmod ${mode} ${/^[\w.:/=@%+,-]+$/.test(path) ? path : `'${path}'`}`
}

function wrong(message: string, hint: string): NotRead {
  return { ok: false, message, hint }
}
