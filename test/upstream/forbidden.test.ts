// What a 403 is about, by the errors that APIs publish in their references and that people report.

import { describe, expect, test } from 'bun:test'
import { type Forbidden, forbiddenBy } from '../../src/upstream/forbidden.ts'

const openai = (message: string, code: string | null, type = 'invalid_request_error'): string =>
  JSON.stringify({ error: { message, type, param: null, code } })
const anthropic = (type: string, message: string): string =>
  JSON.stringify({ type: 'error', error: { type, message }, request_id: 'req_1' })
const coded = (code: string | number, message: string): string =>
  JSON.stringify({ error: { code, message } })

const TABLE: Readonly<Record<Forbidden, Readonly<Record<string, string>>>> = {
  request: {
    'OpenAI: a model': openai(
      'Project `proj_1` does not have access to model `gpt-4o-mini`',
      'model_not_found',
    ),
    'OpenAI: a region': openai(
      'Country, region, or territory not supported',
      'unsupported_country_region_territory',
      'request_forbidden',
    ),
    'OpenAI: an organisation that is not verified for a model': openai(
      'Your organization must be verified to use the model `o3`.',
      null,
    ),
    'OpenAI: a policy': openai('Your request was rejected by our usage policies.', null),
    'Anthropic: a model': anthropic(
      'permission_error',
      'Your API key does not have permission to use the model claude-opus-5.',
    ),
    'Anthropic: a beta feature': anthropic(
      'permission_error',
      'Your organization does not have access to this beta feature.',
    ),
    'Anthropic: a region': anthropic('forbidden', 'Request not allowed'),
    'OpenRouter: moderation': JSON.stringify({
      error: {
        code: 403,
        message: 'Your chosen model requires moderation and your input was flagged for "violence".',
        metadata: { reasons: ['violence'], flagged_input: 'x' },
      },
    }),
    'OpenRouter: a region': coded(403, 'This model is not available in your region.'),
    'Groq: a model': openai(
      'The model `llama` is blocked at the organization level.',
      'model_permission_blocked_org',
      'permissions_error',
    ),
    'Bedrock: a model': JSON.stringify({
      message: "You don't have access to the model with the specified model ID.",
    }),
    'LiteLLM: a model': openai('key not allowed to access model', '403', 'key_model_access_denied'),
    'a model of an account': anthropic(
      'permission_error',
      'Your account does not have access to this model.',
    ),
    'a model in between': openai(
      'User tester is not authorized to access model x or model does not exist',
      null,
      'AuthorizationError',
    ),
    'in a list': `[${coded(403, 'Requests from this location are not supported.')}]`,
    'words that nobody foresaw': openai('Recipes with pineapple are not served here', null),
    'with a byte order mark': `\uFEFF${openai('No.', 'model_not_found')}`,
  },
  key: {
    'OpenAI: a restricted key': openai(
      'You have insufficient permissions for this operation. Missing scopes: model.request.',
      null,
    ),
    'OpenAI: a key': openai('Incorrect API key provided: sk-abc***xyz.', 'invalid_api_key'),
    'Anthropic: no model is named': anthropic(
      'permission_error',
      'Your API key does not have permission to use the specified resource.',
    ),
    'Anthropic: an organisation': anthropic(
      'permission_error',
      'This organization has been disabled.',
    ),
    'Anthropic: a way to authenticate': anthropic(
      'permission_error',
      'OAuth authentication is currently not allowed for this organization.',
    ),
    'Azure: a network': coded('403', 'Access denied due to Virtual Network/Firewall rules.'),
    'Azure: another network': coded(
      '403',
      'A Virtual Network is configured for this resource. Please use the correct endpoint for making requests.',
    ),
    'Azure: a principal': coded(
      'PermissionDenied',
      'Principal does not have access to API/Operation.',
    ),
    'Azure: keys are off': coded(
      'AuthenticationTypeDisabled',
      'Key based authentication is disabled for this resource.',
    ),
    "OpenRouter: the key's limit": coded(403, 'Key limit exceeded (total limit).'),
    'Gemini: a key that leaked': JSON.stringify({
      error: {
        code: 403,
        message: 'Your API key was reported as leaked.',
        status: 'PERMISSION_DENIED',
      },
    }),
    'Gemini: no key': coded(403, "Method doesn't allow unregistered callers."),
    'AWS: a token': JSON.stringify({
      message: 'The security token included in the request is invalid.',
    }),
    'AWS: a principal': JSON.stringify({
      Message: 'x',
      message: 'User: arn:aws:iam::123456789012:user/gate is not authorized to perform: x',
    }),
    'Groq: a network': coded(403, 'Access denied. Please check your network settings.'),
    'OpenAI: all access': openai(
      'Your access was terminated due to violation of our policies, please check your email.',
      'access_terminated',
    ),
    'Anthropic: an account': anthropic(
      'permission_error',
      'Your account does not have access to Claude.',
    ),
    'Google: a consumer': coded(
      403,
      "Permission denied: Consumer 'api_key:AIzaXXXX' has been suspended.",
    ),
    'Google: a referrer': coded(403, 'Requests from referer <empty> are blocked.'),
    'Google: a permission': coded(
      403,
      "Permission 'aiplatform.endpoints.predict' denied on resource '//x' (or it may not exist).",
    ),
    'vLLM behind a proxy': JSON.stringify({ error: 'Invalid token' }),
  },
  unclear: {
    nothing: '',
    'Cloudflare, a page': '<!DOCTYPE html><title>Attention Required! | Cloudflare</title>',
    'Cloudflare, a line': 'error code: 1020',
    nginx: '<html><head><title>403 Forbidden</title></head></html>',
    'a bare word of Anthropic': anthropic('permission_error', 'Permission denied'),
    'a bare word of AWS': '{"message":"Forbidden"}',
    'a bare word in text': '{"error":"Access denied."}',
    'a whole bare sentence': '{"message":"You are not authorized to access this resource"}',
    'of Google': coded(403, 'The caller does not have permission'),
    'of Apache': coded(403, "You don't have permission to access this resource."),
    'no words': '{"error":{"code":403}}',
    'a list': '[]',
    null: 'null',
    'a JSON text': '"Forbidden"',
  },
}

for (const [about, bodies] of Object.entries(TABLE)) {
  describe(`about: ${about}`, () => {
    test.each(Object.entries(bodies))('%s', (_name, body) => {
      expect(forbiddenBy(body)).toBe(about as Forbidden)
    })
  })
}

test('a long text is decided at once', () => {
  const long = ['key '.repeat(100_000), 'not '.repeat(100_000), '403 '.repeat(100_000)]
  const started = performance.now()
  for (const message of long) forbiddenBy(openai(message, null))
  expect(performance.now() - started).toBeLessThan(1000)
})
