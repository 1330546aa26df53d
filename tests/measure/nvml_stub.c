/* A stand-in for libnvidia-ml.so.1 with two devices. Behaviour is told by two environment variables:
   LMBENCH_STUB_MODE   "driver": initialising fails; "unsupported": no energy counter; else a normal device.
   LMBENCH_STUB_LOST   while a file of this name exists, device 1 is lost. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OK 0
#define NOT_SUPPORTED 3
#define INSUFFICIENT_SIZE 7
#define DRIVER_NOT_LOADED 9
#define IS_LOST 15

typedef struct { unsigned int gpu, memory; } utilization_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gi, ci; } process_t;

static int devices[2] = {0, 1};

static int mode(const char *name) {
    const char *value = getenv("LMBENCH_STUB_MODE");
    return value && strcmp(value, name) == 0;
}

static int lost(void *handle) {
    const char *path = getenv("LMBENCH_STUB_LOST");
    return *(int *)handle == 1 && path && access(path, F_OK) == 0;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int nvmlInitWithFlags(unsigned int flags) { (void)flags; return mode("driver") ? DRIVER_NOT_LOADED : OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) {
    return code == IS_LOST ? "GPU is lost" : code == NOT_SUPPORTED ? "Not Supported" : "Driver Not Loaded";
}
int nvmlSystemGetDriverVersion(char *text, unsigned int size) { strncpy(text, "999.10", size); return OK; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) { *handle = &devices[index]; return OK; }
int nvmlDeviceGetName(void *handle, char *text, unsigned int size) { (void)handle; strncpy(text, "NVIDIA Stub 40GB", size); return OK; }
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *out) {
    if (lost(handle)) return IS_LOST;
    out->total = 40ULL << 30; out->used = 3ULL << 30; out->free = 37ULL << 30;
    return OK;
}
int nvmlDeviceGetUtilizationRates(void *handle, utilization_t *out) {
    if (lost(handle)) return IS_LOST;
    out->gpu = 75; out->memory = 30;
    return OK;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned int *milliwatts) {
    if (lost(handle)) return IS_LOST;
    *milliwatts = 100000;
    return OK;
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
    if (lost(handle)) return IS_LOST;
    if (mode("unsupported")) return NOT_SUPPORTED;
    *millijoules = (unsigned long long)(seconds() * 100000.0);
    return OK;
}
int nvmlDeviceGetClockInfo(void *handle, unsigned int kind, unsigned int *megahertz) {
    if (lost(handle)) return IS_LOST;
    *megahertz = kind == 1 ? 1410 : 1215;
    return OK;
}
int nvmlDeviceGetTemperature(void *handle, unsigned int sensor, unsigned int *celsius) {
    (void)sensor;
    if (lost(handle)) return IS_LOST;
    *celsius = 61;
    return OK;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *mask) {
    if (lost(handle)) return IS_LOST;
    *mask = 0x4;
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned int *count, process_t *out) {
    if (lost(handle)) return IS_LOST;
    if (out == NULL) { *count = 2; return INSUFFICIENT_SIZE; }
    const char *pid = getenv("LMBENCH_STUB_PID");
    out[0] = (process_t){pid ? (unsigned int)atoi(pid) : 0, 1ULL << 30, 0, 0};
    out[1] = (process_t){1, 2ULL << 30, 0, 0};
    *count = 2;
    return OK;
}
