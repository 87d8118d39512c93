/* gate.c -- a reader by lines for heads, by counts for bodies.
 *
 *    +---------------- no body, or its last byte ----------------+
 *    v                                                           |
 * REQUEST -> HEADERS -> LENGTH ----------------------------------+
 *               |                                                |
 *               +-----> SIZE -> CHUNK -> CHUNK_END               |
 *                        ^ |                 |                   |
 *                        | +-> LAST ---------|-------------------+
 *                        +-------------------+
 *
 * In a sound head the only control bytes are its CRLFs (and tabs within
 * values), so one search for control bytes finds the ends of lines and
 * everything that must not be there. */
/* SPDX-License-Identifier: MIT */
#include "gate.h"
#include <assert.h>
#include <strings.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum step {
    STEP_REQUEST, /* the request line */
    STEP_HEADERS,
    STEP_LENGTH,    /* a body with Content-Length */
    STEP_SIZE,      /* the line of a chunk's size */
    STEP_CHUNK,     /* a chunk's data */
    STEP_CHUNK_END, /* the CRLF after it */
    STEP_LAST,      /* the CRLF after the chunk of size 0 */
};

enum fact {
    FACT_POST = 1 << 0, /* else GET */
    FACT_HTTP_1_0 = 1 << 1,
    FACT_HOST = 1 << 2,
    FACT_LENGTH = 1 << 3,
    FACT_CHUNKED = 1 << 4,
    FACT_TYPE = 1 << 5,
    FACT_AUTHORIZATION = 1 << 6,
    FACT_EXPECT = 1 << 7,
};

enum {
    SIZE_DIGITS = 16,  /* of a chunk: all that 64 bits take */
    LINE_BESIDES = 16, /* bytes of "POST " and " HTTP/1.1\r\n" beside the URI */
};

struct gate_refusal {
    int status;
    const char *code;
    const char *reason;
};

typedef const struct gate_refusal *check_value(struct gate *gate, struct slice value);

static size_t read_head(struct gate *gate, struct slice bytes, struct gate_verdict *verdict);
static size_t head_limit(const struct gate *gate);
static const struct gate_refusal *over_limit(const struct gate *gate);
static const struct gate_refusal *check_line(struct gate *gate, struct slice line);
static const struct gate_refusal *check_request(struct gate *gate, struct slice line);
static const struct gate_refusal *check_version(struct gate *gate, struct slice version);
static const struct gate_refusal *check_method(struct gate *gate, struct slice method);
static const struct gate_refusal *check_target(struct gate *gate, struct slice target);
static const struct gate_refusal *check_header(struct gate *gate, struct slice line);
static const struct gate_refusal *check_known(struct gate *gate, struct slice name,
                                              struct slice value, bool has_tab);
static const struct gate_refusal *check_head(struct gate *gate);
static size_t read_data(struct gate *gate, struct slice bytes, struct gate_verdict *verdict);
static size_t read_size(struct gate *gate, struct slice bytes);
static size_t read_crlf(struct gate *gate, struct slice bytes, const struct gate_refusal *refusal);
static size_t refuse(struct gate *gate, const struct gate_refusal *refusal);
static size_t find_control(const char *ptr, size_t len);

/* ---- refusals ---- */

/* The name of each is its stable word. */
#define REFUSAL(name, status, reason)                                                              \
    static const struct gate_refusal name = {status, #name, reason}

REFUSAL(bare_lf, 400, "A line of the request ends with LF alone instead of CRLF.");
REFUSAL(bare_cr, 400, "The request has a CR that no LF follows.");
REFUSAL(control_byte, 400, "The head of the request has a NUL or another control byte.");
REFUSAL(bad_request_line, 400, "The request line is not method, target and version.");
REFUSAL(bad_method, 400, "The request's method is not a token.");
REFUSAL(bad_target, 400, "The request's target is not a path of visible ASCII characters.");
REFUSAL(bad_version, 400, "The request's HTTP version is malformed.");
REFUSAL(obs_fold, 400, "A header line begins with a space or a tab.");
REFUSAL(space_before_colon, 400, "There is a space between a header's name and its colon.");
REFUSAL(bad_header, 400, "A header line does not begin with a name and a colon.");
REFUSAL(tab_before_value, 400, "A tab stands before the value of a header that is read here.");
REFUSAL(no_host, 400, "The request has no Host header.");
REFUSAL(bad_host, 400, "The Host header is not a host and a port.");
REFUSAL(duplicate_header, 400, "A header that may come only once comes twice.");
REFUSAL(bad_length, 400, "The Content-Length header is not a plain decimal number.");
REFUSAL(bad_encoding, 400, "The Transfer-Encoding header does not end with chunked.");
REFUSAL(old_encoding, 400, "A request of HTTP/1.0 has a Transfer-Encoding header.");
REFUSAL(two_lengths, 400, "The request has both Content-Length and Transfer-Encoding.");
REFUSAL(get_body, 400, "A GET request has a body.");
REFUSAL(bad_chunk_size, 400, "The size of a chunk is not a plain hexadecimal number.");
REFUSAL(chunk_extension, 400, "Chunk extensions are not accepted.");
REFUSAL(bad_chunk_end, 400, "The data of a chunk is not followed by CRLF.");
REFUSAL(trailer, 400, "Trailer fields after the body are not accepted.");
REFUSAL(method_head, 405, "The method HEAD is not served here.");
REFUSAL(method_not_allowed, 405, "Only the methods GET and POST are served here.");
REFUSAL(length_required, 411, "A POST request needs Content-Length or chunked encoding.");
REFUSAL(body_too_large, 413, "The request's body is larger than this gateway accepts.");
REFUSAL(uri_too_long, 414, "The request's target is longer than this gateway accepts.");
REFUSAL(bad_expect, 417, "The only expectation that can be met is 100-continue.");
REFUSAL(head_too_large, 431, "The request's headers are larger than this gateway accepts.");
REFUSAL(too_many_headers, 431, "The request has more headers than this gateway accepts.");
REFUSAL(unknown_method, 501, "The request's method is not known here.");
REFUSAL(unknown_encoding, 501, "The only transfer coding known here is chunked.");
REFUSAL(unknown_version, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");

/* ---- the whole ---- */

static size_t read_some(struct gate *gate, struct slice bytes, struct gate_verdict *verdict)
{
    switch ((enum step)gate->step) {
    case STEP_REQUEST:
    case STEP_HEADERS: return read_head(gate, bytes, verdict);
    case STEP_LENGTH:
    case STEP_CHUNK: return read_data(gate, bytes, verdict);
    case STEP_SIZE: return read_size(gate, bytes);
    case STEP_CHUNK_END:
    case STEP_LAST: break;
    }
    bool is_last = gate->step == STEP_LAST;
    size_t passed = read_crlf(gate, bytes, is_last ? &trailer : &bad_chunk_end);
    if (passed == 0)
        return 0;
    gate->step = STEP_SIZE;
    if (is_last) {
        *gate = (struct gate){.limits = gate->limits};
        verdict->ends++;
    }
    return passed;
}

struct gate_verdict gate_read(struct gate *gate, struct slice bytes)
{
    struct gate_verdict verdict = {0};

    while (verdict.passed < bytes.len && !gate->refusal) {
        struct slice rest = {bytes.ptr + verdict.passed, bytes.len - verdict.passed};
        size_t passed = read_some(gate, rest, &verdict);
        if (passed == 0)
            break;
        verdict.passed += passed;
    }
    if (gate->refusal) {
        verdict.status = gate->refusal->status;
        verdict.code = gate->refusal->code;
        verdict.reason = gate->refusal->reason;
    }
    return verdict;
}

static size_t refuse(struct gate *gate, const struct gate_refusal *refusal)
{
    gate->refusal = refusal;
    return 0;
}

/* ---- heads ---- */

/* The head's size when all of it is there, else 0. */
static size_t read_head(struct gate *gate, struct slice bytes, struct gate_verdict *verdict)
{
    const struct gate_refusal *refusal = NULL;

    assert(bytes.len >= gate->seen); /* what did not pass is offered again */
    gate->base = bytes.ptr;
    while (!refusal) {
        size_t limit = head_limit(gate);
        size_t end = bytes.len < limit ? bytes.len : limit;
        size_t at = gate->seen + find_control(bytes.ptr + gate->seen, end - gate->seen);
        gate->seen = at;
        if (at + 1 >= end && (at == end || bytes.ptr[at] == '\r'))
            return refuse(gate, end == limit ? over_limit(gate) : NULL);
        if (bytes.ptr[at] != '\r')
            return refuse(gate, bytes.ptr[at] == '\n' ? &bare_lf : &control_byte);
        if (bytes.ptr[at + 1] != '\n')
            return refuse(gate, &bare_cr);

        struct slice line = {bytes.ptr + gate->line, at - gate->line};
        gate->line = gate->seen = at + 2;
        if (line.len == 0 && gate->step == STEP_HEADERS)
            break;
        refusal = check_line(gate, line);
    }
    if (!refusal)
        refusal = check_head(gate);
    if (refusal)
        return refuse(gate, refusal);

    size_t size = gate->line;
    unsigned facts = gate->facts;
    struct slice key = {facts & FACT_AUTHORIZATION ? bytes.ptr + gate->key_at : NULL,
                        gate->key_len};
    *gate = (struct gate){.limits = gate->limits, .left = gate->left};
    if (facts & FACT_CHUNKED)
        gate->step = STEP_SIZE;
    else if (gate->left)
        gate->step = STEP_LENGTH;
    gate->phase = gate->step == STEP_REQUEST ? GATE_HEAD : GATE_BODY;
    verdict->heads++;
    verdict->key = key;
    verdict->waits = (facts & FACT_EXPECT) != 0;
    verdict->ends += gate->phase == GATE_HEAD;
    return size;
}

/* Where the line that is being read must have ended. */
static size_t head_limit(const struct gate *gate)
{
    size_t line = gate->limits->uri + LINE_BESIDES;
    bool is_line = gate->step == STEP_REQUEST && line < gate->limits->head;

    return is_line ? line : gate->limits->head;
}

static const struct gate_refusal *over_limit(const struct gate *gate)
{
    return gate->step == STEP_REQUEST ? &uri_too_long : &head_too_large;
}

static const struct gate_refusal *check_line(struct gate *gate, struct slice line)
{
    if (gate->step == STEP_REQUEST) {
        gate->step = STEP_HEADERS;
        return check_request(gate, line);
    }
    if (++gate->headers > gate->limits->headers)
        return &too_many_headers;
    return check_header(gate, line);
}

/* What is left to check when the blank line came. */
static const struct gate_refusal *check_head(struct gate *gate)
{
    unsigned facts = gate->facts;

    if (!(facts & (FACT_HOST | FACT_HTTP_1_0)))
        return &no_host;
    if ((facts & FACT_CHUNKED) && (facts & FACT_LENGTH))
        return &two_lengths;
    if ((facts & FACT_CHUNKED) && (facts & FACT_HTTP_1_0))
        return &old_encoding;
    if (!(facts & FACT_POST) && ((facts & FACT_CHUNKED) || gate->left))
        return &get_body;
    if ((facts & FACT_POST) && !(facts & (FACT_CHUNKED | FACT_LENGTH)))
        return &length_required;
    return gate->left > gate->limits->body ? &body_too_large : NULL;
}

/* ---- the request line ---- */

/* RFC 9112, 3: method SP request-target SP HTTP-version.  The version is judged
 * first: of the HTTP/2 preface "PRI * HTTP/2.0" it is what the client must learn. */
static const struct gate_refusal *check_request(struct gate *gate, struct slice line)
{
    const char *first = memchr(line.ptr, ' ', line.len);
    if (!first)
        return &bad_request_line;
    const char *end = line.ptr + line.len;
    const char *second = memchr(first + 1, ' ', (size_t)(end - first - 1));
    if (!second)
        return &bad_request_line;

    const struct gate_refusal *refusal =
        check_version(gate, (struct slice){second + 1, (size_t)(end - second - 1)});
    if (!refusal)
        refusal = check_method(gate, (struct slice){line.ptr, (size_t)(first - line.ptr)});
    if (!refusal)
        refusal = check_target(gate, (struct slice){first + 1, (size_t)(second - first - 1)});
    return refusal;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* RFC 9110, 5.6.2. */
static bool is_token_char(char c)
{
    static const bool token[256] = {
        ['!'] = true,         ['#' ... '\''] = true, ['*'] = true,         ['+'] = true,
        ['-'] = true,         ['.'] = true,          ['0' ... '9'] = true, ['A' ... 'Z'] = true,
        ['^' ... 'z'] = true, ['|'] = true,          ['~'] = true,
    };

    return token[(unsigned char)c];
}

/* Bytes at the front that can be in a token. */
static size_t token_len(struct slice text)
{
    size_t len = 0;

    while (len < text.len && is_token_char(text.ptr[len]))
        len++;
    return len;
}

static const struct gate_refusal *check_version(struct gate *gate, struct slice version)
{
    if (version.len != 8 || memcmp(version.ptr, "HTTP/", 5) != 0 || !is_digit(version.ptr[5]) ||
        version.ptr[6] != '.' || !is_digit(version.ptr[7]))
        return &bad_version;
    if (version.ptr[5] != '1' || version.ptr[7] > '1')
        return &unknown_version;
    if (version.ptr[7] == '0')
        gate->facts |= FACT_HTTP_1_0;
    return NULL;
}

static const struct gate_refusal *check_method(struct gate *gate, struct slice method)
{
    static const char *const others[] = {"OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"};

    if (slice_is(method, "POST"))
        gate->facts |= FACT_POST;
    if (slice_is(method, "POST") || slice_is(method, "GET"))
        return NULL;
    if (slice_is(method, "HEAD"))
        return &method_head;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (slice_is(method, others[i]))
            return &method_not_allowed;
    return method.len && token_len(method) == method.len ? &unknown_method : &bad_method;
}

/* Origin-form only: to a proxy's absolute-form or an asterisk nothing here answers.
 * What begins with "//" is a path to the grammar and an authority to evhttp. */
static const struct gate_refusal *check_target(struct gate *gate, struct slice target)
{
    if (target.len > gate->limits->uri)
        return &uri_too_long;
    if (target.len == 0 || target.ptr[0] != '/' || (target.len > 1 && target.ptr[1] == '/'))
        return &bad_target;
    for (size_t i = 0; i < target.len; i++)
        if (target.ptr[i] <= ' ' || target.ptr[i] >= 0x7f)
            return &bad_target;
    return NULL;
}

/* ---- header lines ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* RFC 9112, 5: field-name ":" OWS field-value OWS.  That the value has no
 * control bytes is known. */
static const struct gate_refusal *check_header(struct gate *gate, struct slice line)
{
    bool has_tab = false;

    if (is_blank(line.ptr[0]))
        return &obs_fold;
    struct slice name = {line.ptr, token_len(line)};
    if (name.len < line.len && is_blank(line.ptr[name.len]))
        return &space_before_colon;
    if (name.len == 0 || name.len == line.len || line.ptr[name.len] != ':')
        return &bad_header;

    struct slice value = {line.ptr + name.len + 1, line.len - name.len - 1};
    while (value.len && is_blank(*value.ptr)) {
        has_tab |= *value.ptr == '\t';
        value.ptr++;
        value.len--;
    }
    while (value.len && is_blank(value.ptr[value.len - 1]))
        value.len--;
    return check_known(gate, name, value, has_tab);
}

static bool is_word(struct slice text, const char *word, size_t len)
{
    return text.len == len && strncasecmp(text.ptr, word, len) == 0;
}

/* RFC 9110, 7.2 and 4.2.1: a host that is not empty, maybe a port. */
static const struct gate_refusal *check_host(struct gate *gate, struct slice value)
{
    bool is_literal = value.len && value.ptr[0] == '['; /* IPv6 */
    size_t at = 0;

    while (at < value.len && (is_literal ? value.ptr[at] != ']' : value.ptr[at] != ':')) {
        char c = value.ptr[at];
        bool is_fine = is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                       (c && strchr(is_literal ? "[:.%-_~" : ".%-_~", c));
        if (!is_fine)
            return &bad_host;
        at++;
    }
    if (is_literal && at++ == value.len)
        return &bad_host;
    if (at == 0 || (at < value.len && value.ptr[at++] != ':'))
        return &bad_host;
    while (at < value.len)
        if (!is_digit(value.ptr[at++]))
            return &bad_host;
    return NULL;
}

/* Digits only.  "05" is a number to the grammar, but no client says it, and who
 * takes it for octal frames another body. */
static const struct gate_refusal *check_length(struct gate *gate, struct slice value)
{
    uint64_t length = 0;

    if (value.len == 0 || (value.len > 1 && value.ptr[0] == '0'))
        return &bad_length;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.ptr[i]))
            return &bad_length;
        uint64_t digit = (uint64_t)(value.ptr[i] - '0');
        length = length > (UINT64_MAX - digit) / 10 ? UINT64_MAX : length * 10 + digit;
    }
    gate->left = length; /* check_head holds it against the limit */
    return NULL;
}

/* RFC 9112, 6.1 and 6.3: with another last coding than "chunked" the body has no
 * known end; with another one before it the body has, but we cannot decode it. */
static const struct gate_refusal *check_encoding(struct gate *gate, struct slice value)
{
    size_t codings = value.len > 7 ? value.len - 7 : 0; /* bytes before the last 7 */
    struct slice last = {value.ptr + codings, value.len - codings};

    if (!is_word(last, "chunked", 7))
        return &bad_encoding;
    if (codings == 0)
        return NULL;
    bool is_list = strchr(", \t", value.ptr[codings - 1]) && memchr(value.ptr, ',', codings);
    bool is_twice = token_len(value) == 7 && is_word((struct slice){value.ptr, 7}, "chunked", 7);
    return is_list && !is_twice ? &unknown_encoding : &bad_encoding;
}

static const struct gate_refusal *note_key(struct gate *gate, struct slice value)
{
    gate->key_at = (size_t)(value.ptr - gate->base);
    gate->key_len = value.len;
    return NULL;
}

static const struct gate_refusal *check_expect(struct gate *gate, struct slice value)
{
    gate->facts |= FACT_EXPECT;
    return is_word(value, "100-continue", 12) ? NULL : &bad_expect;
}

/* Headers that frame the message or that two readers could take differently.  A
 * tab before their value is white space to the grammar and a part of it to evhttp. */
static const struct gate_refusal *check_known(struct gate *gate, struct slice name,
                                              struct slice value, bool has_tab)
{
    static const struct {
        struct slice name;
        unsigned fact; /* 0: may come more than once */
        check_value *check;
    } known[] = {
        {{"host", 4}, FACT_HOST, check_host},
        {{"expect", 6}, 0, check_expect},
        {{"content-type", 12}, FACT_TYPE, NULL},
        {{"authorization", 13}, FACT_AUTHORIZATION, note_key},
        {{"content-length", 14}, FACT_LENGTH, check_length},
        {{"transfer-encoding", 17}, FACT_CHUNKED, check_encoding},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!is_word(name, known[i].name.ptr, known[i].name.len))
            continue;
        if (gate->facts & known[i].fact)
            return &duplicate_header;
        if (has_tab)
            return &tab_before_value;
        gate->facts |= known[i].fact;
        return known[i].check ? known[i].check(gate, value) : NULL;
    }
    return NULL;
}

/* ---- bodies ---- */

static size_t read_data(struct gate *gate, struct slice bytes, struct gate_verdict *verdict)
{
    size_t passed = bytes.len < gate->left ? bytes.len : (size_t)gate->left;

    gate->left -= passed;
    if (gate->left)
        return passed;
    if (gate->step == STEP_CHUNK) {
        gate->step = STEP_CHUNK_END;
        return passed;
    }
    *gate = (struct gate){.limits = gate->limits};
    verdict->ends++;
    return passed;
}

/* chunk-size CRLF.  Extensions are refused: nobody needs them, and evhttp would
 * answer them with an error of its own.  The line is short, so it is read again
 * from its start when it was cut. */
static size_t read_size(struct gate *gate, struct slice bytes)
{
    uint64_t size = 0;
    size_t at = 0;

    for (; at < bytes.len && hex_digit(bytes.ptr[at]) >= 0; at++) {
        if (at == SIZE_DIGITS)
            return refuse(gate, &bad_chunk_size);
        size = size << 4 | (uint64_t)hex_digit(bytes.ptr[at]);
    }
    if (at == bytes.len)
        return 0;
    if (at == 0)
        return refuse(gate, &bad_chunk_size);
    const struct gate_refusal *refusal = bytes.ptr[at] == ';' ? &chunk_extension : &bad_chunk_size;
    size_t crlf = read_crlf(gate, (struct slice){bytes.ptr + at, bytes.len - at}, refusal);
    if (crlf == 0)
        return 0;
    if (size > gate->limits->body - gate->total)
        return refuse(gate, &body_too_large);
    gate->total += size;
    gate->left = size;
    gate->step = size ? STEP_CHUNK : STEP_LAST;
    return at + crlf;
}

/* 2 when CRLF comes next, 0 when it is not whole; other bytes are refused so. */
static size_t read_crlf(struct gate *gate, struct slice bytes, const struct gate_refusal *refusal)
{
    if (bytes.ptr[0] != '\r')
        return refuse(gate, bytes.ptr[0] == '\n' ? &bare_lf : refusal);
    if (bytes.len == 1)
        return 0;
    return bytes.ptr[1] == '\n' ? 2 : refuse(gate, &bare_cr);
}

/* ---- bytes ---- */

/* Offset of the first control byte that is not a tab, or len. */
static size_t find_control(const char *ptr, size_t len)
{
    size_t at = 0;

#ifdef __SSE2__
    const __m128i last = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
    for (; at + 16 <= len; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(ptr + at));
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last), bytes);
        __m128i hits = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), low),
                                    _mm_cmpeq_epi8(bytes, del));
        int mask = _mm_movemask_epi8(hits);
        if (mask)
            return at + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    for (; at < len; at++) {
        unsigned char c = (unsigned char)ptr[at];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            break;
    }
    return at;
}
