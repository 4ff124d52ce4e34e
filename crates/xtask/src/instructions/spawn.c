/* Loaded before glibc into a haproxystats-process: starts its fold and send children under
   callgrind, and tells on standard error which process has which name. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX 32

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *,
                           const posix_spawnattr_t *, char *const[], char *const[]);

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
    spawn_function *next = (spawn_function *)dlsym(RTLD_NEXT, "posix_spawnp");
    char *valgrind = getenv("INSTRUCTIONS_VALGRIND");
    char *counts = getenv("INSTRUCTIONS_COUNTS");
    char *program = getenv("INSTRUCTIONS_PROGRAM");
    int is_disk = !strcmp(argv[0], "haproxystats-outbox") || !strcmp(argv[0], "haproxystats-spool");
    char *arguments[ARGUMENTS_MAX + 1] = {valgrind, "--tool=callgrind", "--quiet", counts, program};
    int count = 5;
    for (int i = 1; argv[i] && count < ARGUMENTS_MAX; i++)
        arguments[count++] = argv[i];
    int error = is_disk ? next(pid, file, actions, attributes, argv, envp)
                        : next(pid, valgrind, actions, attributes, arguments, envp);
    if (error == 0)
        dprintf(2, "spawned %d %s\n", (int)*pid, argv[0]);
    return error;
}
