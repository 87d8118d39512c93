/* chunk.h -- what one message of a chat stream holds: a ChatCompletionChunk,
 * a completion chunk, an error, or a whole plain answer.
 *
 * One walk with json.h, no tree, no allocation.  The shapes are OpenAI's
 * (https://platform.openai.com/docs/api-reference/chat-streaming) with the
 * habits of the others that shared streams show: usage with or without
 * choices, x_groq.usage, reasoning in "reasoning" or "reasoning_content". */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/err.h"
#include "leaves/slice.h"
#include <stdint.h>

enum chunk_kind {
    CHUNK_OTHER,     /* valid JSON of no kind below */
    CHUNK_ROLE,      /* a delta that says nothing yet: role only, or empty text */
    CHUNK_CONTENT,   /* text for the reader */
    CHUNK_REASONING, /* text of the thinking */
    CHUNK_TOOL_CALL, /* a piece of a tool call */
    CHUNK_FINISH,    /* a finish_reason and no text */
    CHUNK_USAGE,     /* usage, and choices empty or absent (but no "data" or "type") */
    CHUNK_ERROR,     /* an error at the top, in a choice or in x_groq; type "error" or
                        "response.failed" */
};

struct chunk_usage { /* -1: was not said */
    int64_t prompt;
    int64_t completion;
    int64_t total;
    int64_t cached;
    int64_t reasoning;
};

struct chunk {
    enum chunk_kind kind;
    struct slice text;   /* inside of the string that content or reasoning is, as written,
                            between its quotes; ptr NULL when there is none */
    struct slice finish; /* inside of finish_reason's string; ptr NULL when null, "" or absent */
    struct slice error;  /* the error's value span, or the whole message when only its type says
                            so; ptr NULL when there is none */
    struct slice usage;  /* the usage object's span; ptr NULL when there is none */
    int index;           /* of the first choice; 0 when it says none */
    bool calls_tool;     /* a piece of a tool call is in it, beside what else it says */
    int choices; /* how many choices: 0 for "choices": []; -1 when there is no such member */
    struct chunk_usage count; /* numbers of usage */
    int64_t cost;             /* that usage says: micro-dollars; -1: it does not */
    size_t said;              /* bytes of all that is said, in every choice: texts, tool calls */
};

/* Reads one message.  The slices borrow from data.  Fails with json's errors
 * when data is not strict JSON, or ERR_TYPE when it is no object. */
MUST_CHECK enum err chunk_read(struct slice data, struct chunk *chunk);

/* Keeps the larger of each number: usage may come in every chunk. */
void chunk_usage_merge(struct chunk_usage *into, const struct chunk_usage *from);
/* Adds what is known of each: of two answers in one stream. */
void chunk_usage_add(struct chunk_usage *into, const struct chunk_usage *more);
struct chunk_usage chunk_usage_none(void);

/* Whether a client has something to show for it: the commit point. */
bool chunk_commits(const struct chunk *chunk);

enum commit {               /* what is a stream's commit point */
              COMMIT_FIRST, /* the first message that chunk_commits: content, reasoning, a tool call
                               … */
              COMMIT_CONTENT, /* the same without reasoning */
              COMMIT_WHOLE,   /* its end, when it ended well */
};

/* The stable word, e.g. "tool_call". */
const char *chunk_kind_name(enum chunk_kind kind);
