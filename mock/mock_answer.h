/* mock_answer.h -- one answer, step by step, as bytes and acts.
 *
 *     START -> (HEAD) -> BODY -> 0 -> 1 -> ... -> chunks -> FINISH -> USAGE -> DONE -> END
 *
 * A stream walks through all its places, a plain answer goes from START to END
 * with a stop where its fault is.  It knows no sockets and no clock: whoever
 * drives it waits as long as mock_answer_wait_ms says, takes a step, sends the
 * bytes, and does what the step says. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "mock_head.h"
#include "mock_http.h"
#include "mock_limit.h"
#include "mock_options.h"
#include "mock_say.h"

struct mock_answer {
    const struct mock_options *options; /* of this request */
    struct mock_fault fault;            /* the one that plays, or none */
    int at;                             /* place */
    bool stream;                        /* walks through its places */
    bool keep_alive;                    /* another request may follow on the connection */
    struct mock_options *own;           /* private from here: options of the model's name */
    int status;
    const char *type; /* Content-Type, or NULL */
    enum mock_framing framing;
    bool limited; /* quota is known */
    char retry_after[16];
    struct mock_quota quota;
    struct mock_say say;
    struct buf body; /* of a plain answer */
    size_t sent;     /* of it */
    bool cut;        /* it stops in the middle, at sent */
};

/* Decides on the answer to a request; all of it is copied, nothing borrowed
 * but defaults. */
void mock_answer_init(struct mock_answer *answer, const struct mock_options *defaults,
                      const struct mock_request *request, uint64_t now_us);

/* An answer that is just this JSON; takes what is in body. */
void mock_answer_init_json(struct mock_answer *answer, const struct mock_options *defaults,
                           const struct mock_request *request, int status, struct buf *body);
void mock_answer_fini(struct mock_answer *answer);

int mock_answer_wait_ms(const struct mock_answer *answer);

/* Appends the next bytes and says what to do after them. */
enum mock_act mock_answer_step(struct mock_answer *answer, struct buf *out);

/* After a stall: goes on as if there had been none. */
void mock_answer_resume(struct mock_answer *answer);

/* What a stalled stream sends to stay alive. */
void mock_answer_ping(const struct mock_answer *answer, struct buf *out);
