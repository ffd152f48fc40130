"""The suite that grades a storage driver: ``pytest --pyargs lamina.conformance --lamina-driver NAME``.

=================  ==================================================================================================
``README.md``      the numbered cases: what a driver has to do
``contracts``      the cases as code, by area
``fixtures``       what a case gets: a fresh store on the driver, a flat twin
``requires``       cases that ask for a capability
``subject``        finding and probing the driver under test
``test_driver``    binds every contract to the driver that the command line names
``plugin``         the pytest plugin: options, header, leak check
=================  ==================================================================================================
"""
