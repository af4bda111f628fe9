"""What a measured process can be asked to do, one job a module, the same code for every side.

A job has ``main(side, params)``, async or not, and returns numbers. Async jobs run on uvloop.
"""
