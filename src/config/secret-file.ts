// Reads a secret from a file, as container platforms mount them. A file that others on the machine can
// read is refused, except in development mode. A mistake never contains the content, and contains the
// path only if it names a file: somebody may have pasted the secret itself there.

import { readFileSync, statSync } from 'node:fs'
import type { NotRead, Read } from './kinds.ts'

const MAX_SECRET_FILE_BYTES = 65_536

/** Trimmed, because editors and `echo` end a file with a line break. */
export function readSecretFile(path: string, devMode: boolean): Read<string> {
  try {
    const about = statSync(path)
    if (!about.isFile() || about.size > MAX_SECRET_FILE_BYTES) {
      return wrong('names no file of a size that a secret has', 'check the path')
    }
    // On Windows the mode bits do not say who may read.
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

/** The command for a shell. The owner may remove all other readers; a group may be the one that we need. */
export function closing(path: string, { uid }: { readonly uid: number }): string {
  const mode = uid === process.getuid?.() ? '600' : 'o-r'
  // A path must not control the terminal.
  if (/[^ -~]|'/.test(path)) return `chmod ${mode} it`
  return `chmod ${mode} ${/^[\w.:/=@%+,-]+$/.test(path) ? path : `'${path}'`}`
}

function wrong(message: string, hint: string): NotRead {
  return { ok: false, message, hint }
}
