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
#include "gate_own.h"
#include <assert.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    SIZE_DIGITS = 16,  /* of a chunk: all that 64 bits take */
    LINE_BESIDES = 16, /* bytes of "POST " and " HTTP/1.1\r\n" beside the URI */
};

static size_t read_head(struct gate *gate, struct slice bytes, struct gate_verdict *verdict);
static size_t head_limit(const struct gate *gate);
static size_t read_data(struct gate *gate, struct slice bytes, struct gate_verdict *verdict);
static size_t read_size(struct gate *gate, struct slice bytes);
static size_t read_crlf(struct gate *gate, struct slice bytes, const struct gate_refusal *refusal);
static size_t refuse(struct gate *gate, const struct gate_refusal *refusal);
static size_t find_control(const char *ptr, size_t len);

/* ---- refusals ---- */

REFUSAL(bare_lf, 400, "A line of the request ends with LF alone instead of CRLF.");
REFUSAL(bare_cr, 400, "The request has a CR that no LF follows.");
REFUSAL(control_byte, 400, "The head of the request has a NUL or another control byte.");
REFUSAL(bad_chunk_size, 400, "The size of a chunk is not a plain hexadecimal number.");
REFUSAL(chunk_extension, 400, "Chunk extensions are not accepted.");
REFUSAL(bad_chunk_end, 400, "The data of a chunk is not followed by CRLF.");
REFUSAL(trailer, 400, "Trailer fields after the body are not accepted.");
REFUSAL(body_too_large, 413, "The request's body is larger than this gateway accepts.");

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
            return refuse(gate, end == limit ? gate_over_limit(gate) : NULL);
        if (bytes.ptr[at] != '\r')
            return refuse(gate, bytes.ptr[at] == '\n' ? &bare_lf : &control_byte);
        if (bytes.ptr[at + 1] != '\n')
            return refuse(gate, &bare_cr);

        struct slice line = {bytes.ptr + gate->line, at - gate->line};
        gate->line = gate->seen = at + 2;
        if (line.len == 0 && gate->step == STEP_HEADERS)
            break;
        refusal = gate_check_line(gate, line);
    }
    if (!refusal)
        refusal = gate_check_head(gate);
    if (!refusal && gate->left > gate->limits->body)
        refusal = &body_too_large;
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
