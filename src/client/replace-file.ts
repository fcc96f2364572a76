// Replaces a file as a whole: the text is written beside it and moved into place, so that a reader sees the
// old or the new text and never half of one.

import { randomUUID } from 'node:crypto'
import { open, rename, unlink } from 'node:fs/promises'

/** On the disk when it resolves; a power cut loses neither text. */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const beside = `${path}.${randomUUID()}.tmp`
  const file = await open(beside, 'wx', mode)
  try {
    await file.writeFile(text)
    // The umask may have taken bits away.
    await file.chmod(mode)
    await file.sync()
    await file.close()
    await rename(beside, path)
  } catch (error) {
    await file.close().catch(() => {})
    await unlink(beside).catch(() => {})
    throw error
  }
}
