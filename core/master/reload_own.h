/* reload_own.h -- what the files of a reload share: reload.c has its way, reload_end.c how it comes
 * out.  Nobody else includes it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "loader.h"
#include "reload.h"
#include "trial.h"
#include "worker/control.h"

enum reload_state { IDLE, LOADING, TELLING };

struct reload {
    const char *config_path;
    struct limits *limits;
    struct crew *crew;
    struct doors *doors;
    int listen_fd;
    bool is_given; /* listen_fd is systemd's, who keeps it open: listen counts for nothing */
    struct version *current, *previous, *next;
    struct sources *disk; /* what was last read from the disk, sound or not */
    struct watch *watch;  /* NULL: the configuration wants none */
    enum reload_state state;
    enum reload_cause cause, cause_asked; /* of what runs or ran; of what is asked for */
    bool asked, said_waiting;
    unsigned tickets, begun, done; /* given out; answered by the one that runs; answered */
    unsigned serial;
    unsigned last; /* the highest number that ever served */
    struct trial *trial;
    struct loader *loader;
    int next_listen_fd;
    int64_t begun_us, deadline_us;
    int64_t changed_us, look_us; /* first event that was not looked at; when to look; 0: none */
    struct buf problems;         /* of the last one; empty: it went well */
    struct buf refusal;          /* why what the last reload read is not in force; empty: it is */
    char refused[CONTROL_TEXT];  /* its first line, for /readyz */
    bool stopped;
};

/* ---- reload.c ---- */

/* After something was read: what it was read from is watched. */
void reload_set_watch(struct reload *reload);
void reload_note_change(struct reload *reload, int64_t now_us);

/* ---- reload_end.c ---- */

int reload_close_fd(int fd);               /* accepts -1, and gives it */
void reload_finish(struct reload *reload); /* idle again; what was asked is answered */
/* The problems are there; what serves goes on serving. */
void reload_refuse(struct reload *reload);
void reload_warn_no_keys(const struct version *version);
/* When the certificate ends within days, or has. */
void reload_warn_certificate(const struct version *version);
/* What workers that start from now on are given. */
void reload_set_start(struct reload *reload);
void reload_switch_all(struct reload *reload); /* all serve what is next */
void reload_try_out(struct reload *reload);    /* some do: a canary */
void reload_look_at_trial(struct reload *reload, int64_t now_us);
/* A canary ends, and what served the others serves all again. */
void reload_take_back(struct reload *reload, bool is_bad);
