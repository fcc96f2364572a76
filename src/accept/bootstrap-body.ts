// What a device says about itself when it enrols. What it says about models or limits is ignored.

import { type Static, t } from 'elysia'
import { FormatRegistry } from 'elysia/type-system'
import type { BootstrapRequest } from '../enroll/bootstrap.ts'
import { OTHERS_TOO, type Told } from './invalid.ts'

export const MAX_BOOTSTRAP_BODY_BYTES = 4096

const DEVICE_ID = /^\s*[\x21-\x7e]{1,200}\s*$/
/** No character that moves a terminal's cursor. */
const DEVICE_NAME = /^[^\p{C}\p{Zl}\p{Zp}]{1,100}$/u
const APP_VERSION = /^[\x20-\x7e]{1,64}$/

/** A format, because a pattern cannot have the flag `u`. */
const NAME_FORMAT = 'device-name'
FormatRegistry.Set(NAME_FORMAT, (text) => DEVICE_NAME.test(text))

const ID: Told = { refusal: 'invalid_device_id' }
const NAME: Told = { description: '1 to 100 printable characters' }
const VERSION: Told = { description: '1 to 64 printable ASCII characters' }
const CODE: Told = { description: 'a string' }

export const BOOTSTRAP_BODY = t.Object(
  {
    device_id: t.String({ pattern: DEVICE_ID.source, ...ID }),
    device_name: t.Optional(t.Union([t.String({ format: NAME_FORMAT }), t.Null()], NAME)),
    app_version: t.Optional(
      t.Union([t.String({ pattern: APP_VERSION.source }), t.Null()], VERSION),
    ),
    enrollment_code: t.Optional(t.Union([t.String(), t.Null()], CODE)),
  },
  OTHERS_TOO,
)

export function bootstrapRequest(body: Static<typeof BOOTSTRAP_BODY>): BootstrapRequest {
  return {
    deviceId: body.device_id.trim(),
    deviceName: body.device_name ?? undefined,
    appVersion: body.app_version ?? undefined,
    code: body.enrollment_code ?? undefined,
  }
}
