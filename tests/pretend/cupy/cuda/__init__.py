"""Streams, events and one device, or as many as ZERO_REF_PRETEND_GPUS says."""

import os

import cupy
from cupy import Event, Stream

__all__ = ["Device", "Event", "MemoryHook", "Stream", "get_current_stream", "is_available", "runtime"]


def is_available():
    return True


def get_current_stream():
    return cupy._now


class Device:
    in_use = 0

    def __init__(self, number=None):
        self.number = Device.in_use if number is None else number
        self.pci_bus_id = f"0000:0{self.number}:00.0"

    def use(self):
        Device.in_use = self.number


class MemoryHook:
    """Is told of every piece of memory that is taken or given back."""

    def __enter__(self):
        cupy.hooks.append(self)
        return self

    def __exit__(self, *_):
        cupy.hooks.remove(self)

    def malloc_postprocess(self, **_):
        pass

    def free_postprocess(self, **_):
        pass


class runtime:
    @staticmethod
    def getDeviceCount():
        return int(os.environ.get("ZERO_REF_PRETEND_GPUS", "1"))
